"""Columns of the read-out's rows, its measures and its flags."""

from __future__ import annotations

from frozen.readout.measures import Expectation, Measure

MEASURES = (
    Measure("explained_variance", "Explained variance", "EV", "ratio", "1 − Σ‖x − x̂‖² / Σ‖x − μ‖² of test images"),
    Measure("reconstruction_cosine", "Cosine of x and x̂", "cos", "cosine", "about the dictionary's centre"),
    Measure("l0", "Active atoms", "L0", "count", "atoms that an image, or a token, has in its code"),
    Measure(
        "zero_shot_percent", "Zero-shot accuracy of x", "ZS", "percent",
        "objects of an image among its best texts, as many as it has objects",
    ),
    Measure("zero_shot_lost", "Lost with x̂", "ΔZS", "percent", "points of zero-shot accuracy lost when x̂ replaces x"),
    Measure("named_percent", "Named atoms", "named", "percent", "living atoms whose best text exceeds the null"),
    Measure("name_score", "Name score", "s", "cosine", "cosine of a living atom with its best text"),
    Measure(
        "name_accuracy_percent", "Right names", "right", "percent",
        "of atoms that detect a known concept (AUC > 0.9), those whose best text is that concept",
    ),
    Measure(
        "bound_auc", "Conjunction selectivity", "AUC°", "ratio",
        "mean over object kinds: how well the best atom tells the object from its features on different objects, "
        "among images of equally many objects",
    ),
    Measure("kinds_covered", "Object kinds covered", "n°", "count", "object kinds with such an AUC above 0.9"),
    Measure(
        "accuracy_percent", "Accuracy", "A", "percent",
        "objects (or features) of an image among its best classes, as many as it has",
    ),
    Measure(
        "concepts_per_decision", "Concepts a decision", "NCC", "count",
        "atoms that make up 95 % of the positive contributions to the best class",
    ),
    Measure("accuracy_change", "Change by intervention", "ΔA", "percent", "points, after minus before"),
    Measure("change_beyond_random", "Change beyond random atoms", "ΔΔA", "percent", "points, minus the control's"),
    Measure("worst_group_percent", "Worst group", "A_min", "percent", "accuracy of the class with the least"),
    Measure("mmcs", "Stability", "MMCS", "cosine", "mean of the largest cosine with an atom of another training"),
)  # fmt: skip
EXTRA_MEASURES = (
    Measure(
        "probe_lost", "Lost by the probe with x̂", "ΔLP", "percent",
        "points of the linear probe's accuracy lost when x̂ replaces the x that it was trained on",
    ),
    Measure("name_z", "z of names", "z", "ratio", "mean over living atoms, against rotated atoms"),
    Measure(
        "name_margin", "Margin of names", "Δs", "cosine", "mean distance of a living atom's name to the next text's"
    ),
    Measure("monosemanticity", "Monosemanticity", "MS", "cosine", "how alike another model finds an atom's images"),
    Measure(
        "conjunction_mass_percent", "Strength in conjunctions", "m°", "percent",
        "share of all strength that conjunction atoms have",
    ),
    Measure(
        "feature_mass_percent", "Strength in features", "m_f", "percent",
        "share of all strength that feature atoms have",
    ),
    Measure(
        "accuracy_at_5", "Accuracy of five atoms a class", "A_5", "percent",
        "when only the five strongest atoms of each class count",
    ),
    Measure("concepts_absolute", "Concepts, absolute", "NCC_a", "count", "the same of absolute contributions"),
    Measure("concepts_published", "Concepts, as published", "NCC_p", "count", "the same counted from 0"),
    Measure(
        "random_change", "Change by random atoms", "ΔA_r", "percent", "points, mean of sets of as many living atoms"
    ),
)  # fmt: skip
_ESTIMATES = {measure.column: measure.meaning for measure in (*MEASURES, *EXTRA_MEASURES)}

_PLAIN = {
    "n_atoms": "atoms of the dictionary",
    "width": "dimensions of the site",
    "n_train": "images that the dictionary, or the classifier, was trained on",
    "n_test": "images, or atoms, behind the numbers",
    "offset_ratio": "‖μ‖/‖σ‖: distance of the site's mean from zero, in units of its spread",
    "dead_percent": "atoms that no row of these test images activates; a count",
    "dense_percent": "atoms that more than a tenth of the test rows activate",
    "n_restarts": "silent atoms that were restarted in training",
    "training_seconds": "of all dictionaries of the stream together",
    "n_texts": "texts to choose names from",
    "n_names": "different names given",
    "null_score": "mean best cosine of rotated atoms",
    "kinds_named": "object kinds that the best of their detectors is named after; a count",
    "kinds_detected": "object kinds with an atom of AUC > 0.95; a count",
    "bytes_per_image": "of the stored code",
    "conjunction_atoms": "living atoms whose bound AUC exceeds 0.75 with its interval",
    "feature_atoms": "atoms with an AUC above 0.9 for a feature, whose bound AUC's interval holds 0.5",
    "chance_percent": "accuracy of guessing",
    "penalty": "λ chosen by validation",
    "weights_per_class": "weights of a class that are not zero",
    "zero_weights_percent": "weights that are exactly zero",
    "kkt_residual": "largest violation of the optimality conditions, in units of λ",
    "n_atoms_meant": "atoms that an intervention keeps or removes",
    "seed": "of training, null and bootstrap",
    "interval_level": "coverage the intervals aim at",
    "interval_resamples": "bootstrap resamples behind each interval",
    "flags": "warnings, see the read-out's flag meanings",
}
COLUMNS: dict[str, str] = {
    **{name + end: text for name, text in _ESTIMATES.items() for end in ("", "_low", "_high")},
    **_PLAIN,
}
COLUMN_KINDS: dict[str, str] = {
    **dict.fromkeys(COLUMNS, "number?"),
    "seed": "whole",
    "interval_level": "number",
    "interval_resamples": "whole",
    "flags": "texts",
}
FLAGS = {
    "many_dead": "more than half of the atoms are silent on test images",
    "poor_model": "the dictionary explains less than half of the variance",
    "unread_texts": "texts with words that the text tower does not know were left out",
    "nothing_to_bind": "too few images show a kind's features on different objects; it is left out",
    "no_atom_meant": "an intervention whose names or numbers no living atom has",
    "not_converged": "the classifier's optimality conditions are violated by more than a hundredth of λ",
}
CONTROLS = {
    "random_init": "the same backbone with random weights: its atoms should not be nameable",
    "shuffled": "activations of other images: dictionaries stay, what they tell of an image must fall to chance",
}
EXPECTATIONS = (
    Expectation(
        control="shuffled",
        column="bound_auc",
        low=0.4,
        high=0.6,
        otherwise="Codes of other images tell what an image binds, so no selectivity of this study may be read.",
    ),
)
