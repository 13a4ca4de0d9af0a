"""What the paper's pictures show, from sparse codes: clusters of images, local and global explanations."""

from __future__ import annotations

import warnings

import numpy as np
import pyarrow as pa

from readouts.concepts.classifier import Codes
from readouts.concepts.codes import Csr

_IMAGES, _ATOMS, _LOCAL, _GLOBAL = 9, 6, 8, 5
_MOST_CLUSTERED = 20_000


def meta_clusters(codes: Csr, n_clusters: int, seed: int) -> pa.Table:
    """Clusters of images in the space of codes (paper, section 4.3): k-means++, then the atoms that set each apart.

    Args:
        codes: [samples latents]; of more than 20,000 samples, the first.
        n_clusters: k.
        seed: of the first centres, and of the images.

    Returns:
        A row a cluster, the largest first: its size, some of its images at random (those nearest to its centre would
        hide that it is mixed), and the atoms whose mean strength exceeds that of all images most, with by how much.
    """
    from scipy.cluster.vq import kmeans2  # a tenth of a second that a plan does without

    dense = codes[:_MOST_CLUSTERED].toarray().astype(np.float64)
    k = min(n_clusters, len(dense))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of clusters that became empty: they are left out below
        _, chosen = kmeans2(dense, k, minit="++", rng=seed, iter=50, missing="warn")
    means, rng = dense.mean(0), np.random.default_rng(seed)
    rows = []
    for cluster in range(k):
        members = np.flatnonzero(chosen == cluster)
        if not len(members):
            continue
        excess = dense[members].mean(0) - means
        atoms = np.argsort(-excess, kind="stable")[:_ATOMS]
        rows.append(
            {
                "size": len(members),
                "images": rng.permutation(members)[:_IMAGES].tolist(),
                "atoms": atoms.tolist(),
                "excess": excess[atoms].tolist(),
            }
        )
    rows.sort(key=lambda row: -row["size"])
    return pa.Table.from_pylist(rows)


def local_explanations(codes: Codes, weights: np.ndarray, labels: np.ndarray) -> pa.Table:
    """Of the first images, the largest contributions to the best class; all of an image sum to its logit.

    Args:
        codes: of the test images [samples latents].
        weights: [classes latents].
        labels: what is present [samples classes].
    """
    rows = []
    for image in np.flatnonzero(labels.any(1))[:_LOCAL].tolist():
        dense = codes[[image]].toarray()[0]
        u = weights * dense
        best = int(u.sum(1).argmax())
        atoms = np.argsort(-np.abs(u[best]), kind="stable")[:_ATOMS]
        rows.append(
            {
                "image": image,
                "class": best,
                "is_right": bool(labels[image, best]),
                "logit": float(u[best].sum()),
                "atoms": atoms.tolist(),
                "contributions": u[best, atoms].tolist(),
            }
        )
    return pa.Table.from_pylist(rows)


def global_explanations(codes: Codes, weights: np.ndarray, labels: np.ndarray, best: np.ndarray) -> pa.Table:
    """Atoms of every class, twice: by what the classifier adds for images that it gives the class (`classifier`), and
    by how much brighter they are on images that show it (`images`, as published, which no weight enters).

    Args:
        codes: of the test images [samples latents].
        weights: [classes latents].
        labels: what is present [samples classes].
        best: the class that each image is given [samples].
    """
    mean = np.asarray(codes.mean(0)).ravel()
    rows = []
    for number in range(len(weights)):
        chosen = {"classifier": np.flatnonzero(best == number), "images": np.flatnonzero(labels[:, number])}
        for how, images in chosen.items():
            if not len(images):
                continue
            values = np.asarray(codes[images].mean(0)).ravel() - mean
            values = values * weights[number] if how == "classifier" else values
            atoms = np.argsort(-values, kind="stable")[:_GLOBAL]
            rows.append({"class": number, "by": how, "atoms": atoms.tolist(), "values": values[atoms].tolist()})
    return pa.Table.from_pylist(rows)
