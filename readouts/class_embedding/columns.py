"""What a row holds: dimensions, measures, columns, flags and controls, each with its meaning."""

from __future__ import annotations

from typing import NamedTuple

from frozen.readout.measures import Dimension, Expectation, Measure, Unit


class Quantity(NamedTuple):
    """A measure, and what its intervals cannot leave."""

    measure: Measure
    bounds: tuple[float, float]


def _quantity(column: str, label: str, symbol: str, unit: Unit, meaning: str, low: float, high: float) -> Quantity:
    return Quantity(Measure(column, label, symbol, unit, meaning), (low, high))


_INFINITE = float("inf")
QUANTITIES = (
    _quantity(
        "identifiability",
        "Identifiability",
        "r",
        "ratio",
        "mean of 1 - rank / C, the rank of the image's class among all logits of a token's class projection; 1 where "
        "it is first, about one half by chance",
        0,
        1,
    ),
    _quantity(
        "rate_percent",
        "Rate",
        "R",
        "percent",
        "tokens whose class projection has the image's class first; at `logits` the model's top-1 accuracy",
        0,
        100,
    ),
    _quantity("images_percent", "Images", "I", "percent", "images with at least one such token", 0, 100),
    _quantity(
        "rise_percent",
        "Rise",
        "Δ",
        "percent",
        "tokens whose class logit is larger than in what came before: of a block, the block before it; of attention "
        "and MLP, what they are added to",
        0,
        100,
    ),
    _quantity(
        "class_gain",
        "Class over context",
        "d",
        "ratio",
        "identifiability of tokens that show the class minus that of the other image tokens, image by image",
        -1,
        1,
    ),
    _quantity("kept_percent", "Kept", "k", "percent", "best class is that of the block before", 0, 100),
    _quantity("attention_percent", "From attention", "a", "percent", "best class is attention's", 0, 100),
    _quantity("mlp_percent", "From MLP", "m", "percent", "best class is the MLP's", 0, 100),
    _quantity("composed_percent", "Composed", "n", "percent", "best class is none of these", 0, 100),
    _quantity(
        "memory_percent",
        "Key-value agreement",
        "K",
        "percent",
        "tokens among whose most active memories is one of those whose value vectors favour the image's class most",
        0,
        100,
    ),
    _quantity(
        "match_percent",
        "Memory match",
        "M",
        "percent",
        "tokens one of whose most active memories favours the class that the sublayer's output has first",
        0,
        100,
    ),
    _quantity(
        "accuracy_link_percent",
        "Agreement, right minus wrong",
        "L",
        "percent",
        "key-value agreement of images that the model classifies rightly minus that of the others",
        -100,
        100,
    ),
    _quantity(
        "value_cosine",
        "Class-value agreement",
        "v",
        "cosine",
        "largest cosine of a class embedding with a value vector, mean over classes; of weights alone",
        -1,
        1,
    ),
    _quantity(
        "attribution_nats",
        "Attribution",
        "t",
        "nats",
        "what the site adds to the logit of the image's class beyond the mean over classes, with the final norm's "
        "scale held fixed; over all sites the sum is the logit's",
        -_INFINITE,
        _INFINITE,
    ),
    _quantity(
        "auc",
        "Deletion AUC",
        "A",
        "ratio",
        "mean accuracy while tokens are removed, by trapezoids over the share kept; with `auc: paper` the mean of "
        "the points between none and all, divided by the largest of them",
        0,
        1,
    ),
    _quantity(
        "pointing_percent",
        "Pointing",
        "P",
        "percent",
        "images whose most relevant token shows the class",
        0,
        100,
    ),
    _quantity(
        "relevancy_percent",
        "Relevancy",
        "G",
        "percent",
        "the block's or head's part of the relevancy of all blocks and heads, by sums of absolute values over tokens",
        0,
        100,
    ),
    _quantity(
        "fires_percent",
        "Fires",
        "F",
        "percent",
        "images of the class that a memory favours most in which it is among the five most active of any token",
        0,
        100,
    ),
    _quantity(
        "fires_else_percent",
        "Fires elsewhere",
        "E",
        "percent",
        "images of other classes in which it is",
        0,
        100,
    ),
    _quantity(
        "bound_percent",
        "Bound class",
        "B",
        "percent",
        "comparisons that the kind of an object that is there wins against a kind that only its features and the "
        "other object's would make; ties count half, 50 without binding",
        0,
        100,
    ),
    _quantity(
        "margin_nats",
        "Bound margin",
        "b",
        "nats",
        "logit of the kind that is there minus the mean of the two that are not",
        -_INFINITE,
        _INFINITE,
    ),
    _quantity(
        "illusory_percent",
        "Illusory",
        "J",
        "percent",
        "tokens whose best class is an object that is not there, made of the features of the two that are",
        0,
        100,
    ),
    _quantity(
        "own_percent",
        "Own object",
        "O",
        "percent",
        "tokens with a larger logit for the object they are asked for than for the other; ties count half",
        0,
        100,
    ),
)
MEASURES = tuple(one.measure for one in QUANTITIES)
BOUNDS = {one.measure.column: one.bounds for one in QUANTITIES}

DIMENSIONS = (
    Dimension(
        "layer", "layer", "embed, number of a block, a part of one as 3.mlp, or logits", "depth", "layer_index"
    ),
    Dimension(
        "aspect",
        "aspect",
        "projection of the plain forward pass, the condition it ran under, memories, attribution, probe, relevancy, "
        "bound_class, or deletion that keeps the most or the least relevant tokens",
        "panel",
    ),
    Dimension("part", "part", "residual, mid, attention or mlp; all where it is of the whole model", "panel"),
    Dimension(
        "token",
        "token",
        "kind of token: cls, image, register, class and context (image tokens that show the class or do not), all; "
        "in deletion, what orders the tokens; or a head, or a memory; of a bound class, object, other (the same "
        "tokens asked for the other object), background and cls",
        "line",
    ),
)
GRID_COLUMNS = {
    "layer": "embed, number of a block, a part of one as 3.mlp, or logits",
    "layer_index": "position in depth: embed is -1",
    "depth_fraction": "0 at embed, 1 after the last block",
    "aspect": "what is measured",
    "part": "residual, mid, attention, mlp, or all",
    "token": "which tokens; in deletion, what orders them; or which head or memory",
}
COLUMNS = {
    **{
        f"{one.column}{end}": f"{text}{one.meaning}"
        for one in MEASURES
        for end, text in (("", ""), ("_low", "lower end of the interval: "), ("_high", "upper end of the interval: "))
    },
    "p_value": "of class_gain, masks exchanged between images, or of accuracy_link_percent, labels exchanged",
    "chance": "what the first measure of the row is by chance, where that is known exactly",
    "favoured": "of a memory, the classes that it favours most, by number, the most first",
    "images": "of a memory, the images in which its coefficient is largest, by number, the largest first",
    "split": "the split that was read",
    "n_test": "images, or classes where the measure is of classes",
    "n_tokens": "tokens of them all",
    "n_classes": "classes of the classifier",
    "seed": "of the bootstrap, the permutations and the random orders",
    "interval_level": "coverage the intervals aim at",
    "interval_resamples": "bootstrap resamples behind each interval",
    "flags": "warnings",
}
COLUMN_KINDS = {
    **dict.fromkeys(GRID_COLUMNS, "text"),
    **dict.fromkeys(COLUMNS, "number?"),
    "layer_index": "whole",
    "depth_fraction": "number?",
    "split": "text?",
    "favoured": "text?",
    "images": "text?",
    "flags": "texts",
}
FLAGS = {
    "few_images": "fewer than 30 images have such tokens: the interval is rough",
    "few_wrong": "fewer than 30 images are classified wrongly, or rightly: the accuracy link is rough",
    "few_pairs": "fewer than 30 images show two objects that share no feature",
    "missing_classes": "some classes have no image, and the mean is over the others",
}
CONTROLS = {
    "random_init": "the same backbone with random weights and a random classifier: identifiability is about one half",
    "shuffled": "activations of other images",
}
EXPECTATIONS = (
    Expectation(
        control="random_init",
        column="identifiability",
        low=0.4,
        high=0.6,
        where=(("aspect", "projection"),),
        otherwise="A model that never saw an image tells their classes: labels leak into what is read.",
    ),
)
