"""The binding read-out's columns of a row, and those among them that tables and figures show as measures."""

from __future__ import annotations

from binding.extras import EXTRA_ESTIMATES
from binding.paired import PAIRED_ESTIMATES
from frozen.readout.measures import Measure

MEASURES = (
    Measure(
        "cautious_binding_ratio",
        "Binding ratio, cautious",
        "β*_cautious",
        "ratio",
        "β*_direct where the scenes were drawn from the declared prior; otherwise the smaller of B*_direct and "
        "V-information, over H(O|F), so that a wrong prior cannot make noise bind",
    ),
    Measure(
        "binding_ratio",
        "Binding ratio",
        "β*",
        "ratio",
        "B* / H(O|F), the paper's measure: of what the features F leave open about the objects O, the share that is "
        "read; 1 is full binding, 0 none",
    ),
    Measure(
        "direct_binding_ratio",
        "Binding ratio, direct",
        "β*_direct",
        "ratio",
        "B*_direct / H(O|F): the same share, by one probe that is given the features; a lower bound if the declared "
        "prior is the true one, which no poor probe can inflate",
    ),
    Measure(
        "object_information_ratio",
        "Object information ratio",
        "β_O",
        "ratio",
        "B_O / H(O): the share of what there is to know of the objects, features and binding together, that is read",
    ),
    Measure(
        "binding_information_bits",
        "Binding information",
        "B*",
        "bits",
        "H(O|F) - (CE_O - CE_F), from the test losses of two probes: a poor features probe inflates it, a poor "
        "objects probe deflates it",
    ),
    Measure(
        "direct_binding_information_bits",
        "Binding information, direct",
        "B*_direct",
        "bits",
        "H(O|F) - CE(O|Z,F), a lower bound of I(O;Z|F) if the declared prior is the true one",
    ),
    Measure("v_information_bits", "V-information", "V", "bits", "CE(O|F) - CE(O|Z,F) of the same probe family"),
)

EXTRA_MEASURES = (
    Measure(
        "selectivity_bits",
        "Selectivity",
        "S",
        "bits",
        "CE_control - CE_O, what the objects probe reads beyond what it reads of a control code",
    ),
    Measure(
        "description_length_bits",
        "Description length",
        "L",
        "bits",
        "online code of O given Z, bits a training sample; less is better",
    ),
    Measure(
        "order_spread_bits",
        "Spread over orders of the objects",
        "Δ_order",
        "bits",
        "largest less smallest CE_O over four orders of the objects in the chain rule",
    ),
    Measure(
        "over_random_bits",
        "Binding beyond random atoms",
        "ΔB*_random",
        "bits",
        "B*_direct of the chosen coordinates of a map minus that of as many random ones, on the same test images",
    ),
    Measure(
        "leave_one_out_bits",
        "Binding lost without the head",
        "ΔB*_head",
        "bits",
        "B*_direct of all heads of the block minus B*_direct without this one, on the same test images; 0 where the "
        "other heads hold all that it holds",
    ),
    Measure(
        "lost_bits",
        "Binding lost in the map",
        "ΔB*_direct",
        "bits",
        "B*_direct before the map minus B*_direct after it, on the same test images",
    ),
    Measure(
        "kept_share",
        "Share of binding that the map keeps",
        "κ",
        "ratio",
        "B*_direct after the map over B*_direct before it",
    ),
)

_ESTIMATES = {
    "object_loss_bits": "CE_O, test loss of the objects probe",
    "feature_loss_bits": "CE_F, test loss of the features probe",
    "direct_loss_bits": "CE(O|Z,F), test loss of the direct probe",
    "given_loss_bits": "CE(O|F), test loss of the probe that sees the features alone",
    "object_information_bits": "B_O = H(O) - CE_O",
    "object_information_ratio": "β_O = B_O / H(O)",
    "feature_information_bits": "B_F = H(F) - CE_F",
    "binding_information_bits": "B* = H(O|F) - (CE_O - CE_F)",
    "binding_ratio": "β* = B* / H(O|F); empty where H(O|F) is 0",
    "direct_binding_information_bits": "B*_direct = H(O|F) - CE(O|Z,F)",
    "direct_binding_ratio": "B*_direct / H(O|F)",
    "v_information_bits": "V = CE(O|F) - CE(O|Z,F), both probes trained",
    "cautious_binding_information_bits": "B*_direct where `prior_source` is exact, else the smaller of it and V; V "
    "alone without a prior",
    "cautious_binding_ratio": "the same over H(O|F)",
}
_BEFORE = {
    "through": "what the activations pass before the probe sees them: class_logits, joint or a kind of map, behind a "
    "dot the sort of its coordinates that is read alone, and random for the control of as many others; empty where "
    "nothing",
    "n_coordinates": "coordinates of a map that are read: those active in 10 training images or more, of the sort; "
    "empty without a map",
    "z_dim": "width of what the probe sees, of one token for mode all",
    "n_tokens": "tokens the probe sees; 1 for pooled modes",
    "split_policy": "which feature codes each split admits",
    "n_train": "training samples",
    "n_validation": "validation samples",
    "n_test": "test samples",
    "seen_share": "share of the test samples whose object code also occurs in training",
    "batch_size": "samples a batch",
    "n_steps": "steps of the optimiser in a training that goes through all epochs",
    "hyperparameters_objects": "tuned objects probe, JSON",
    "hyperparameters_features": "tuned features probe, JSON",
    "hyperparameters_direct": "tuned direct probe, JSON",
    "best_epoch_objects": "best epoch of each seed",
    "best_epoch_features": "best epoch of each seed",
    "best_epoch_direct": "best epoch of each seed; 0 is the untrained state, the prior alone",
    "train_gap_objects_bits": "test loss minus training loss of the objects probe at its best epoch",
    "train_gap_features_bits": "the same of the features probe",
    "train_gap_direct_bits": "the same of the direct probe",
    "n_suggestions": "probes tried for each target",
    "n_seeds": "trainings of each tuned probe",
    "seed": "seed of the search, of the first training and of the bootstrap",
    "interval_level": "coverage the intervals aim at",
    "interval_resamples": "bootstrap resamples behind each interval",
    "prior_source": "how the prior is known: exact (scenes were drawn from it), declared, estimated (from training "
    "codes or counts of the data set) or none",
    "direct_view": "what the direct probe sees beside the activations, by validation loss: features (and the earlier "
    "objects), objects (the earlier ones), nothing, or objects_probe (it is the objects probe)",
    "object_entropy_bits": "H(O), exact, of the test split",
    "feature_entropy_bits": "H(F), exact, of the test split",
    "conditional_entropy_bits": "H(O|F), mean over the test samples; what B* and β* use",
    "conditional_entropy_exact_bits": "H(O|F), exact, of the test split",
    "object_accuracy": "share of object bits guessed right",
    "feature_accuracy": "share of feature bits guessed right",
}
_AFTER = {
    "seed_spread_bits": "standard deviation of B* between seeds",
    "flags": "warnings, see the read-out's flag meanings",
}
COLUMNS: dict[str, str] = {
    **_BEFORE,
    **{
        name + end: text
        for name, text in (_ESTIMATES | EXTRA_ESTIMATES | PAIRED_ESTIMATES).items()
        for end in ("", "_low", "_high")
    },
    **_AFTER,
}
"""The read-out's columns of a row, in order, with their meaning; _low and _high bound the interval."""

CHOICES = {f"hyperparameters_{target}": target for target in ("direct", "features", "objects")}
"""Columns of tuned settings, with their headings."""

FILES = {
    "samples/CELL.parquet": "test losses: sample, target, seed, bits; `code_length`: the code of a training sample; "
    "`whole`: the direct losses before the map; `random`: those of as many random atoms; `all_heads` and "
    "`without_head`: those of all heads of the block, and of all but this one",
    "curves/CELL.parquet": "target, seed, epoch, train_bits, validation_bits; suggestions in its metadata",
    "details/CELL.parquet": "information per conjunction and per number of objects",
    "predictions/CELL.parquet": "of every test sample the loss of the direct probe in bits, and the objects it reads",
    "probes/CELL.safetensors": "tuned probes, if small enough (`keep_probes`); python -m binding.apply uses them",
}
"""What the results hold of a cell."""

_TARGETS = ("objects", "features", "direct")
COLUMN_KINDS: dict[str, str] = {
    **dict.fromkeys(COLUMNS, "number?"),
    **dict.fromkeys(("batch_size", "n_steps", "n_train", "n_validation", "n_test"), "whole"),
    **dict.fromkeys(("n_suggestions", "n_seeds", "seed", "interval_resamples"), "whole"),
    **{f"hyperparameters_{target}": "object" for target in _TARGETS},
    **{f"best_epoch_{target}": "list" for target in _TARGETS},
    "through": "text?",
    "z_dim": "whole",
    "n_tokens": "whole",
    "split_policy": "text?",
    "prior_source": "text?",
    "direct_view": "text?",
    "interval_level": "number",
    "flags": "texts",
}
"""What each column holds, with a question mark where it may be empty."""
