"""Sparse codes of a split: lists of active atoms and their strengths, in Arrow."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float32, Int64
from scipy.sparse import csr_array

from frozen.rows import ArrayRows
from readouts.concepts.dictionary import Dictionary

Csr: TypeAlias = Any
"""scipy's csr_array [samples latents], float32; its own types make the shape optional and the elements unknown."""
_BLOCK_NUMBERS = 2**23
_MOST = 65504.0


class CodesError(ValueError):
    """Bytes that are no codes, or codes of other samples than they are used with."""


@torch.inference_mode()
def encode(dictionary: Dictionary, array: ArrayRows, device: torch.device) -> Csr:
    """Codes [samples latents], rounded to half precision; of several tokens, the strongest of each atom.

    Args:
        dictionary: on any device.
        array: activations [samples dim] or [samples token dim].
        device: where it is computed.
    """
    own = dictionary.to(device)
    tokens = math.prod(array.shape[1:-1])
    samples = max(1, _BLOCK_NUMBERS // (tokens * own.n_atoms))
    data, indices, counts = [], [], [np.zeros(1, dtype=np.int64)]
    for start in range(0, len(array), samples):
        x = torch.from_numpy(np.array(array[start : start + samples], dtype=np.float32)).to(device)
        f = own.encode(x.reshape(-1, own.width)).view(len(x), tokens, -1).amax(1)
        f = f.clamp_max(_MOST).half().cpu().numpy()
        rows, atoms = np.nonzero(f)
        data.append(f[rows, atoms])
        indices.append(atoms)
        counts.append(np.bincount(rows, minlength=len(f)))
    pointers = np.cumsum(np.concatenate(counts))
    shape = (len(array), own.n_atoms)
    return csr_array((np.concatenate(data).astype(np.float32), np.concatenate(indices), pointers), shape=shape)


def to_table(codes: Csr) -> pa.Table:
    """A row a sample: `atoms`, list<uint32>, and `strengths`, list<float16>."""
    pointers = pa.array(codes.indptr.astype(np.int32), type=pa.int32())
    atoms = pa.ListArray.from_arrays(pointers, pa.array(codes.indices.astype(np.uint32)))
    strengths = pa.ListArray.from_arrays(pointers, pa.array(codes.data.astype(np.float16)))
    table = pa.table({"atoms": atoms, "strengths": strengths})
    return table.replace_schema_metadata({"n_atoms": str(codes.shape[1])})


def from_table(table: pa.Table) -> Csr:
    """The codes of such a table, float32.

    Raises:
        CodesError: another table.
    """
    metadata = table.schema.metadata or {}
    if b"n_atoms" not in metadata or not {"atoms", "strengths"} <= set(table.column_names):
        raise CodesError(
            "not a table of codes: it needs the columns atoms and strengths, and n_atoms in its metadata"
        )
    lists = [table.column(name).combine_chunks() for name in ("atoms", "strengths")]
    atoms, strengths = (one.chunk(0) if isinstance(one, pa.ChunkedArray) else one for one in lists)
    pointers = atoms.offsets.to_numpy()
    values = strengths.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    indices = atoms.flatten().to_numpy().astype(np.int64)
    return csr_array((values, indices, pointers - pointers[0]), shape=(len(table), int(metadata[b"n_atoms"])))


def to_bytes(codes: Csr) -> bytes:
    """The table as an Arrow stream."""
    table = to_table(codes)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_bytes(content: bytes, n_samples: int | None = None) -> Csr:
    """What `to_bytes` wrote.

    Raises:
        CodesError: other bytes, or codes of another number of samples.
    """
    try:
        codes = from_table(pa.ipc.open_stream(pa.BufferReader(content)).read_all())
    except pa.ArrowInvalid as error:
        raise CodesError(f"not codes of this read-out: {error}") from error
    if n_samples is not None and codes.shape[0] != n_samples:
        raise CodesError(f"codes of {codes.shape[0]} samples beside labels of {n_samples}")
    return codes


class Tops(NamedTuple):
    """The strongest samples of every atom, strongest first, equal ones by their number.

    Attributes:
        samples: [latents n]; -1 where the atom fires on fewer.
        strengths: [latents n]; 0 there.
    """

    samples: Int64[np.ndarray, "latents n"]
    strengths: Float32[np.ndarray, "latents n"]


def strongest(codes: Csr, n: int) -> Tops:
    """The n strongest samples of every atom, from sparse codes alone.

    Args:
        codes: [samples latents].
        n: most samples an atom.
    """
    by_atom = codes.tocsc()
    samples = np.full((codes.shape[1], n), -1, dtype=np.int64)
    strengths = np.zeros((codes.shape[1], n), dtype=np.float32)
    for atom in range(codes.shape[1]):
        own = slice(by_atom.indptr[atom], by_atom.indptr[atom + 1])
        rows, values = by_atom.indices[own], by_atom.data[own]
        order = np.lexsort((rows, -values))[:n]
        samples[atom, : len(order)], strengths[atom, : len(order)] = rows[order], values[order]
    return Tops(samples, strengths)


def monosemanticity(codes: Csr, embeddings: Float32[np.ndarray, "samples dim"]) -> np.ndarray:
    """Mean cosine of pairs of images in another encoder, weighted by both strengths (Pach et al. 2025).

    Strengths of an atom are scaled to at most 1. Missing for atoms that fire on fewer than two samples.

    Args:
        codes: [samples latents].
        embeddings: of the same samples in the encoder that judges.
    """
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True).clip(1e-12)
    total = np.asarray(codes.sum(0), dtype=np.float64).ravel()
    squares = np.asarray(codes.power(2).sum(0), dtype=np.float64).ravel()
    sums = np.asarray(codes.T @ unit, dtype=np.float64)
    weight = total**2 - squares
    numerator = (sums**2).sum(1) - squares
    return np.where(weight > 1e-9 * total.clip(1e-30) ** 2, numerator / np.where(weight > 0, weight, 1), np.nan)
