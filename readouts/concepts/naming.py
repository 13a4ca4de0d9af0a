"""Names of atoms: the nearest text, and how surprising it is that one is so near."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Float32
from scipy.sparse import csr_array
from scipy.special import log_softmax
from torch import Tensor
from torch.nn.functional import normalize

from readouts.concepts.codes import Csr, Tops, strongest

UNNAMED = "unnamed"
N_TOP = 5
_CHUNK = 2048
_NULL_ATOMS = 4096
_LEAST_LOG = -27.6
"""Logarithm of 1e-12: what is less likely counts as that."""
ScoreBlocks: TypeAlias = Callable[[], Iterator[tuple[slice, Float32[np.ndarray, "rows texts"]]]]
"""Image-text scores, read anew each time: with many texts, those of all images are more than memory holds."""


class NamingError(ValueError):
    """Texts and vectors that do not belong together, or a word list that cannot be read."""


class Nearest(NamedTuple):
    """The best texts of every atom.

    Attributes:
        texts: their numbers, best first [latents n].
        scores: their cosines [latents n].
    """

    texts: Tensor
    scores: Tensor


def nearest(
    directions: Float[Tensor, "latents dim"], vectors: Float[Tensor, "texts joint"], n: int, chunk: int = _CHUNK
) -> Nearest:
    """The n texts of largest cosine for every atom (paper, section 3.2), a chunk of texts at a time.

    Raises:
        NamingError: vectors of another width.
    """
    if directions.shape[1] != vectors.shape[1]:
        raise NamingError(f"atoms have {directions.shape[1]} dimensions, texts {vectors.shape[1]}: not one space")
    atoms, n = normalize(directions.float(), dim=1), min(n, len(vectors))
    scores = torch.full((len(atoms), 0), 0.0)
    texts = torch.zeros((len(atoms), 0), dtype=torch.long)
    for start in range(0, len(vectors), chunk):
        cosines = atoms @ normalize(vectors[start : start + chunk].float(), dim=1).T
        numbers = torch.arange(start, start + cosines.shape[1]).expand_as(cosines)
        scores, texts = torch.cat([scores, cosines], 1), torch.cat([texts, numbers], 1)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, :n]
        scores, texts = scores.gather(1, order), texts.gather(1, order)
    return Nearest(texts, scores)


class Null(NamedTuple):
    """Best cosines of randomly rotated atoms with the same texts, sorted."""

    best: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.best.mean())

    @property
    def deviation(self) -> float:
        return float(self.best.std())

    def z(self, scores: np.ndarray) -> np.ndarray:
        """Deviations above the mean."""
        return (scores - self.mean) / max(self.deviation, 1e-12)

    def p(self, scores: np.ndarray) -> np.ndarray:
        """Share of rotated atoms that score at least as much, one added to both counts."""
        above = len(self.best) - np.searchsorted(self.best, scores, side="left")
        return (above + 1) / (len(self.best) + 1)


def rotated_null(directions: Float[Tensor, "latents dim"], vectors: Float[Tensor, "texts dim"], seed: int) -> Null:
    """The null distribution of a score: the dictionary turned at random, the texts as they are.

    The texts keep what they share, so a common direction of all of them names nothing.

    Args:
        directions: of the atoms; at least 4096 rotated ones are drawn, in whole dictionaries.
        vectors: of the texts.
        seed: of the rotations.
    """
    generator = torch.Generator().manual_seed(seed)
    width = directions.shape[1]
    best: list[Tensor] = []
    for _ in range(max(1, -(-_NULL_ATOMS // len(directions)))):
        q, r = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
        rotation = (q * torch.sign(torch.diagonal(r))).float()
        best.append(nearest(directions @ rotation, vectors, 1).scores[:, 0])
    return Null(np.sort(torch.cat(best).double().numpy()))


def centred(vectors: Float[Tensor, "texts dim"]) -> Float[Tensor, "texts dim"]:
    """Unit vectors of texts without what the whole vocabulary shares."""
    unit = normalize(vectors.float(), dim=1)
    return unit - unit.mean(0)


def table_of_names(
    directions: Float[Tensor, "latents dim"],
    vectors: Float[Tensor, "texts dim"],
    texts: Sequence[str],
    *,
    threshold: float,
    seed: int,
) -> pa.Table:
    """A row an atom: name, best text, score, margin to the runner-up, z and p against the null, top texts.

    Args:
        directions: of the atoms.
        vectors: of the texts, in the same space.
        texts: what they say.
        threshold: z below which an atom is `unnamed`.
        seed: of the null.

    Raises:
        NamingError: another number of vectors than texts.
    """
    if len(texts) != len(vectors):
        raise NamingError(f"{len(texts)} texts and {len(vectors)} vectors: one of them lacks lines")
    found = nearest(directions, vectors, N_TOP)
    return _table(found, rotated_null(directions, vectors, seed), texts, threshold)


def _table(found: Nearest, null: Null, texts: Sequence[str], threshold: float) -> pa.Table:
    scores = found.scores.double().numpy()
    z = null.z(scores[:, 0])
    best = [texts[i] for i in found.texts[:, 0].tolist()]
    margin = scores[:, 0] - scores[:, 1] if scores.shape[1] > 1 else np.full(len(scores), np.nan)
    return pa.table(
        {
            "atom": pa.array(range(len(best)), type=pa.int32()),
            "name": [text if value >= threshold else UNNAMED for text, value in zip(best, z, strict=True)],
            "text": best,
            "score": scores[:, 0],
            "margin": margin,
            "z": z,
            "p": null.p(scores[:, 0]),
            "null_score": np.full(len(best), null.mean),
            "top_texts": [[texts[i] for i in row] for row in found.texts.tolist()],
            "top_scores": scores.tolist(),
        }
    )


def from_images(weights: Csr, scores: ScoreBlocks) -> Float32[np.ndarray, "latents texts"]:
    """Scores of texts by the images that an atom is strongest on: weighted pointwise mutual information.

    As CLIP-Dissect (Oikarinen and Weng 2023): how much likelier a text is for the atom's images than for all.

    Args:
        weights: of images for each atom, which sum to 1 [latents samples].
        scores: scaled image-text scores of another model, a block of images after another.
    """
    total, likelihood, n = None, np.zeros(1), 0
    for rows, block in scores():
        logs = log_softmax(block, axis=1)
        likelihood = likelihood + np.exp(logs).sum(0)
        part = weights[:, rows] @ logs.clip(_LEAST_LOG)
        total, n = part if total is None else total + part, n + len(block)
    assert total is not None
    return (total - np.log((likelihood / n).clip(np.exp(_LEAST_LOG)))).astype(np.float32)


def image_weights(tops: Tops, samples: np.ndarray, n_samples: int) -> Csr:
    """Strengths of the strongest images of every atom as shares [latents samples].

    Args:
        tops: of the atoms.
        samples: numbers of the images that have these strengths, -1 for none [latents n].
        n_samples: images.
    """
    atoms, places = np.nonzero((samples >= 0) & (tops.strengths > 0))
    shares = tops.strengths / tops.strengths.sum(1, keepdims=True).clip(1e-12)
    return csr_array((shares[atoms, places], (atoms, samples[atoms, places])), shape=(len(samples), n_samples))


def table_from_images(
    codes: Csr, scores: ScoreBlocks, texts: Sequence[str], *, n_images: int, threshold: float, seed: int
) -> pa.Table:
    """The same table from the images that atoms are strongest on, for backbones without a text tower.

    Args:
        codes: [samples latents].
        scores: of every image with every text in another model, as that model scales them.
        texts: what they say.
        n_images: strongest images of an atom.
        threshold: z below which an atom is `unnamed`.
        seed: of the null: as many random images with the same strengths.
    """
    tops = strongest(codes, n_images)
    n = codes.shape[0]
    found = torch.from_numpy(from_images(image_weights(tops, tops.samples, n), scores))
    rng = np.random.default_rng(seed)
    best: list[np.ndarray] = []
    for _ in range(max(1, -(-_NULL_ATOMS // codes.shape[1]))):
        drawn = np.where(tops.samples >= 0, rng.integers(n, size=tops.samples.shape), -1)
        best.append(from_images(image_weights(tops, drawn, n), scores).max(1))
    order = found.argsort(dim=1, descending=True, stable=True)[:, :N_TOP]
    return _table(Nearest(order, found.gather(1, order)), Null(np.sort(np.concatenate(best))), texts, threshold)


def to_bytes(table: pa.Table) -> bytes:
    """The table as parquet."""
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def from_bytes(content: bytes) -> pa.Table:
    """What `to_bytes` wrote."""
    return pq.read_table(io.BytesIO(content))
