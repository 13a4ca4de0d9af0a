"""What a paper says of a study of concepts: sentences for its methods section, and what to cite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from frozen.readout.readout import Method
from frozen.readout.study import Study
from readouts.concepts.keys import ConceptsStudy
from readouts.concepts.settings import DictionaryConfig

PAPER = """@inproceedings{rao2024discover,
  title         = {Discover-then-Name: Task-Agnostic Concept Bottlenecks via Automated Concept Discovery},
  author        = {Rao, Sukrut and Mahajan, Sweta and B{\\"o}hle, Moritz and Schiele, Bernt},
  booktitle     = {European Conference on Computer Vision},
  year          = {2024},
  eprint        = {2407.14499},
  archivePrefix = {arXiv},
  primaryClass  = {cs.CV}
}"""
TOPK = """@article{gao2024scaling,
  title         = {Scaling and evaluating sparse autoencoders},
  author        = {Gao, Leo and {Dupr{\\'e} la Tour}, Tom and Tillman, Henk and Goh, Gabriel and Troll, Rajan and
                   Radford, Alec and Sutskever, Ilya and Leike, Jan and Wu, Jeffrey},
  year          = {2024},
  eprint        = {2406.04093},
  archivePrefix = {arXiv}
}"""
_KINDS = {
    "relu_l1": "a ReLU encoder and an L1 penalty",
    "topk": "the k largest pre-activations of a row",
    "batchtopk": "the k·B largest pre-activations of a batch of B rows, with the followed threshold at inference",
    "jumprelu": "a learned threshold for each atom and an L0 penalty with straight-through gradients",
    "gated": "a gate with an L1 penalty, and a magnitude",
    "matryoshka": "nested reconstructions from the first quarter, half and all of the atoms, batchtopk codes",
}


def method(study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
    """Sentences on dictionaries, names, classifiers and intervals."""
    del rows
    keys: ConceptsStudy = study.keys
    cited = [PAPER] + ([TOPK] if any(one.is_topk for one in keys.dictionaries) else [])
    sentences = (*_dictionaries(keys), *_names(keys), *_classifiers(keys), *_intervals(study))
    return Method(" ".join(sentences), tuple(cited))


def _dictionaries(keys: ConceptsStudy) -> Iterator[str]:
    training = keys.training
    yield (
        "Following Discover-then-Name (Rao et al. 2024; arXiv 2407.14499), sparse dictionaries were trained on "
        f"activations of {', '.join(keys.sites)}: {'; '.join(map(_dictionary, keys.dictionaries))}."
    )
    centre = "Activations were centred" if training.centre else "Activations were not centred"
    scale = " and scaled to a mean squared norm of their width" if training.scale else ", not scaled"
    yield (
        f"{centre}{scale}; atoms have unit length, and the decoder's gradient was projected accordingly. Adam made "
        f"{training.steps:,} steps of {training.batch_size:,} rows, with a rise of the rate over the first "
        f"{100 * training.warm_up:g} % and a fall over the last {100 * training.decay:g} %."
    )
    if keys.seeds > 1:
        yield f"Each dictionary was trained {keys.seeds} times from different initial weights."


def _dictionary(one: DictionaryConfig) -> str:
    how = f"k = {one.k}" if one.is_topk else f"λ = {one.weight:g}"
    return f"{one.kind} ({_KINDS[one.kind]}; {how}, {one.expansion:g} atoms a dimension)"


def _names(keys: ConceptsStudy) -> Iterator[str]:
    for one in keys.names:
        by = f"by their {one.n_images} strongest images through {one.images}" if one.images else "by cosine"
        centre = ", after the mean of all texts was removed," if one.centre and not one.images else ""
        null = "random images" if one.images else "randomly rotated atoms"
        yield f"Atoms were named {by}{centre} and left unnamed below z = {one.threshold:g} against {null}."


def _classifiers(keys: ConceptsStudy) -> Iterator[str]:
    for one in keys.classifiers:
        how = (
            f"FISTA with L1 penalties {', '.join(f'{value:g}' for value in one.penalties)}, chosen by validation"
            if one.solver == "fista"
            else f"Adam with λ = {one.adam_penalty:g} on the mean absolute weight"
        )
        yield f"A linear classifier of {one.task} without bias read {one.reads} ({how})."


def _intervals(study: Study) -> Iterator[str]:
    yield (
        f"{100 * study.intervals.level:g} % intervals are from a bootstrap ({study.intervals.resamples:,} resamples) "
        "over test images; those of names and of stability over atoms."
    )
