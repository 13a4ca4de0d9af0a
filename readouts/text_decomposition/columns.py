"""The columns of a row, and what the read-out says of its numbers."""

from __future__ import annotations

from frozen.readout.measures import Dimension, Expectation, Measure

DIMENSIONS = (
    Dimension("analysis", "question", "what was asked of the decomposition", "panel"),
    Dimension(
        "layer",
        "layer",
        "embed, number of a block, or final for what is of all and for an attention that pools",
        "depth",
        order="layer_index",
    ),
    Dimension("term", "term", "what of the layer, or which terms together", "line"),
    Dimension("setting", "setting", "of what has several: texts a head, maps", "detail"),
)
GRID_COLUMNS = {
    "analysis": "map, decomposition, ablation, heads, textspan, heatmap, forced_choice, neighbours or spurious",
    "layer": "embed, number of a block, or final for what is of all and for an attention that pools",
    "layer_index": "position in depth: embed is -1",
    "term": "head 0, mlp, init (what enters the first block), bias (of an attention that pools), or the terms that "
    "are removed",
    "setting": "of what has several: texts a head, maps",
}
GRID_COLUMN_KINDS = {**dict.fromkeys(GRID_COLUMNS, "text"), "layer_index": "whole"}

MEASURES = (
    Measure("accuracy_percent", "Accuracy", "A", "percent", "images given their own class; ties count in part"),
    Measure(
        "change_percent",
        "Change of accuracy",
        "ΔA",
        "percent",
        "accuracy without the terms less that of all, in percentage points, on the same images",
    ),
    Measure(
        "explained_ratio",
        "Explained variance",
        "R²",
        "ratio",
        "share of a head's variance along the directions of its texts, on images that did not choose them",
    ),
)
EXTRA_MEASURES = (
    Measure(
        "factor_ratio",
        "Variance told by a feature",
        "η²",
        "ratio",
        "share of a term's variance that the values of the feature named in `factor` tell, on held-out images",
    ),
    Measure(
        "map_ratio",
        "R² of the map",
        "R²_map",
        "ratio",
        "share of the variance of a CLIP's embedding that a linear map from the backbone's gives, on held-out images",
    ),
    Measure(
        "margin_share_ratio",
        "Share of the margin",
        "M_t / M",
        "ratio",
        "share of the mean difference of scores of the scene's caption and its twin's; all terms sum to 1",
    ),
    Measure(
        "alone_percent", "Accuracy alone", "A_t", "percent", "pairs of captions told apart by this term; ties half"
    ),
    Measure(
        "caption_bits",
        "Caption bits",
        "I_c",
        "bits",
        "1 - mean log2(1 + exp(-τ margin)): bits about the binding in the margin, at the best τ of validation",
    ),
    Measure(
        "mean_margin",
        "Margin",
        "M_t",
        "cosine",
        "mean difference of the scores of the scene's caption and its twin's",
    ),
    Measure(
        "lost_bits",
        "Caption bits lost",
        "ΔI_c",
        "bits",
        "caption bits of the whole margin less those without the terms, on the same scenes, each at its own best τ",
    ),
    Measure(
        "over_guess_percent",
        "Accuracy over a guess",
        "ΔG",
        "percent",
        "accuracy less that of the best text for all images alike, in percentage points",
    ),
    Measure(
        "sum_error_ratio",
        "Error of the sum",
        "ε",
        "ratio",
        "mean length of the sum of all terms less the model's own embedding, which has length 1",
    ),
    Measure("pointing_percent", "Pointing game", "P", "percent", "maps whose largest patch touches the object"),
    Measure("pixel_accuracy_percent", "Pixel accuracy", "pixAcc", "percent", "pixels given object or rest rightly"),
    Measure("iou_percent", "Mean IoU", "mIoU", "percent", "mean of object and rest, from totals of all images"),
    Measure("precision_percent", "Average precision", "mAP", "percent", "mean over images"),
    Measure(
        "worst_group_percent", "Worst group", "A_w", "percent", "least accuracy of a class with a value of the cue"
    ),
    Measure("cue_percent", "Accuracy of the cue", "A_c", "percent", "images given their own value of the cue"),
    Measure(
        "retrieved_percent",
        "Neighbours alike",
        "N",
        "percent",
        "nearest images with the same values of the feature named in `factor`",
    ),
)
_ESTIMATES = {
    f"{one.column}{end}": one.meaning if not end else f"{which} end of its interval"
    for one in (*MEASURES, *EXTRA_MEASURES)
    for end, which in (("", ""), ("_low", "lower"), ("_high", "upper"))
}
COLUMNS = {
    **_ESTIMATES,
    "explained_by_chance_ratio": "the same of texts under random rotations, mean",
    "explained_by_chance_high_ratio": "the largest of them",
    "explained_by_permuted_ratio": "the same where each coordinate of the head's output is permuted among the images "
    "by itself, and the texts are chosen for that",
    "texts": "texts of the head, JSON: [text, share of variance, share of variance with those before it]",
    "n_distinct_texts": "distinct texts of all heads that are described",
    "factor": "feature that explains most of the term on validation images",
    "factor_ratios": "share of variance between values of each feature, JSON",
    "variance_share_ratio": "variance of the term over the sum of all terms' variances",
    "chance_percent": "of the row's measure: share of patches that touch the object, or of images alike; accuracy "
    "with the rebuilt heads of other images",
    "sum_error": "largest difference between the sum of all terms and the model's own embedding, of length 1",
    "sum_error_own_mean": "the same where each term loses its own mean",
    "removed": "terms that were removed, JSON",
    "group_percents": "accuracy of each class with each value of the cue, JSON",
    "group_intervals": "ends of the intervals of these, JSON: [low, high]",
    "mean_head_cosine": "mean absolute cosine of what differs from the mean in two heads, over all pairs",
    "chance_head_cosine": "the same of random directions",
    "n_classes": "classes of the zero-shot classifier",
    "n_class_texts": "distinct texts among them",
    "n_images": "images measured",
    "n_fitted": "images that a map to a CLIP was fitted to",
    "n_terms": "terms of the embedding, or of those removed",
    "means": "held_out or evaluated: images behind means and the choice of texts",
    "norm_split": "how the mean of the final norm is shared among terms",
    "seed": "of bootstrap and rotations",
    "interval_level": "coverage the intervals aim at",
    "interval_resamples": "bootstrap resamples behind each interval",
    "flags": "warnings",
}
_TEXT = ("removed", "group_percents", "group_intervals", "texts", "factor", "factor_ratios", "means", "norm_split")
COLUMN_KINDS = {**dict.fromkeys(COLUMNS, "number?"), **dict.fromkeys(_TEXT, "text?"), "flags": "texts"}
FLAGS = {
    "inexact_sum": "the terms do not sum to the model's embedding to 0.001",
    "few_images": "fewer than 100 images",
    "no_better_than_chance": "the texts explain no more than the best of their random rotations",
    "no_heads": "no head is chosen, so that the numbers are those of all terms",
    "equal_texts": "several classes have one text, so that no image can be told apart among them",
}
_NO_TEXT = "What never saw an image of its text tells what is in it: labels leak into what is read."
EXPECTATIONS = (
    *(
        Expectation(
            control=name,
            column="over_guess_percent",
            high=2.0,
            where=(("analysis", "decomposition"), ("term", "embedding")),
            otherwise=_NO_TEXT,
        )
        for name in ("random_init", "shuffled")
    ),
    Expectation(
        control="",
        column="sum_error_ratio",
        high=1e-3,
        where=(("analysis", "decomposition"),),
        otherwise="The terms are not those of this model's embedding, so none of them may be read; with "
        "`store: {dtype: float32}` the error of storage goes away.",
    ),
    Expectation(
        control="shipped:shapes_clip_features",
        column="mean_margin",
        low=0.0,
        high=0.0,
        where=(("analysis", "forced_choice"),),
        otherwise="A model whose captions name no binding prefers one: equal texts do not have equal vectors.",
    ),
)
CONTROLS = {
    "random_init": "the same architecture with random weights, its text tower too: accuracy at chance",
    "shuffled": "activations of other images: accuracy at chance",
}
