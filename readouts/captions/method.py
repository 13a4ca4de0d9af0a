"""What a paper says of a captions study: sentences for its methods section, and what to cite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from frozen.readout.readout import Method
from frozen.readout.study import Study
from readouts.captions.decode import DecodeConfig
from readouts.captions.keys import CaptionStudy

PAPER = """@inproceedings{haghighat2025visual,
  title     = {Visual Latent Captioning: Towards Verbalizing Vision Transformer Encoders},
  author    = {Haghighat, Sogol},
  year      = {2025},
  publisher = {Fraunhofer Publica},
  note      = {Publica 488678; code at github.com/SogolHaghighat/latent_verbalizer}
}"""
CHAIR = """@inproceedings{rohrbach2018object,
  title     = {Object Hallucination in Image Captioning},
  author    = {Rohrbach, Anna and Hendricks, Lisa Anne and Burns, Kaylee and Darrell, Trevor and Saenko, Kate},
  booktitle = {Proceedings of the 2018 Conference on Empirical Methods in Natural Language Processing},
  year      = {2018}
}"""
COCA = """@article{yu2022coca,
  title   = {CoCa: Contrastive Captioners are Image-Text Foundation Models},
  author  = {Yu, Jiahui and Wang, Zirui and Vasudevan, Vijay and Yeung, Legg and Seyedhosseini, Mojtaba and Wu, Yonghui},
  journal = {Transactions on Machine Learning Research},
  year    = {2022}
}"""  # noqa: E501 - BibTeX as it is pasted


def method(study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
    """Sentences on captions, truth, likelihoods and intervals.

    Args:
        study: the study.
        rows: its result rows; the number of images is theirs.
    """
    keys: CaptionStudy = study.keys
    counts = sorted({int(row["n_test"]) for row in rows if row.get("n_test")})
    images = f" of {' and '.join(f'{n:,}' for n in counts)} images" if counts else ""
    sentences = (
        f"For every layer{images} we gave the tokens of the residual stream to the model's own attentional pooler "
        "and caption decoder (visual latent captioning, Haghighat 2025; the model is a CoCa, Yu et al. 2022); "
        "nothing was trained.",
        _decoding(keys.decode),
        *_translators(keys),
        *_truth(rows),
        *_likelihoods(keys, rows),
        f"Intervals ({100 * study.intervals.level:g} %) are from {study.intervals.resamples:,} bootstrap resamples "
        "of images, a scene together with its twin.",
    )
    papers = (PAPER, COCA, CHAIR) if _has(rows, "object_word_recall_percent") else (PAPER, COCA)
    return Method(" ".join(sentences), papers)


def _has(rows: Sequence[Mapping[str, Any]], column: str) -> bool:
    return any(row.get(column) is not None for row in rows)


def _truth(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if _has(rows, "object_recall_percent"):
        yield (
            "Colour and shape words of a caption were held against the objects of the scene; binding accuracy is the "
            "share of named pairs that are one object's among those whose two words are both true of the image, and "
            "its chance the exact mean over all re-pairings of the scene."
        )
    if _has(rows, "object_word_recall_percent"):
        yield (
            "Object words of a caption, synonyms and plurals included, were held against the image's instance "
            "labels: recall is the share of its categories that are named, hallucination the share of named "
            "categories that it does not show (CHAIR, Rohrbach et al. 2018, without the reference captions' "
            "objects); chance holds each caption against the other images."
        )


def _decoding(config: DecodeConfig) -> str:
    if config.sampling_seed is None:
        text = "Captions were decoded greedily"
    else:
        text = (
            f"Captions were sampled (temperature {config.temperature:g}, top-p {config.top_p:g}, seed "
            f"{config.sampling_seed})"
        )
    if config.prefix:
        text += f", beginning with '{config.prefix}'"
    if config.min_words:
        text += f", of at least {config.min_words} words"
    if config.max_words:
        text += f", of at most {config.max_words} words"
    if config.repetition_penalty != 1:
        text += f", with a repetition penalty of {config.repetition_penalty:g}"
    return text + "."


def _translators(keys: CaptionStudy) -> Iterator[str]:
    if "affine" in keys.translators:
        yield (
            "With a translator, tokens were first mapped to those of the last layer by an affine map, fitted by "
            f"ridge regression on the training images (penalty {keys.ridge:g} of the mean variance)."
        )


def _likelihoods(keys: CaptionStudy, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not keys.candidates:
        return
    if not _has(rows, "choice_accuracy_percent") and _has(rows, "retrieval_percent"):
        yield (
            "By teacher forcing we compared the log-likelihood of the image's caption with those of the captions of "
            f"{keys.candidates - 1} other images (retrieval; image specificity by the InfoNCE bound)."
        )
    else:
        yield (
            "By teacher forcing we compared the log-likelihood of the true caption with that of the caption in which "
            "the objects exchange their colours (forced choice; caption information 1 − mean log2(1 + exp(−Δ)) "
            f"bits), and with those of the captions of {keys.candidates - 1} other scenes (retrieval; image "
            "specificity by the InfoNCE bound)."
        )
