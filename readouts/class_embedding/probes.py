"""Linear probes for comparison: ridge regression to one-versus-all targets, from sufficient statistics.

Targets are +1 for an image's class and -1 for every other one; the intercept is not penalised. The sums of x, of
x x^T and of x by class say all of the training data, so that the images are read once for any number of probes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64


class Statistics(NamedTuple):
    """Sums over training images of activations x of one site and position."""

    n_images: int
    total: Float64[np.ndarray, " width"]
    products: Float64[np.ndarray, "width width"]
    """Sum of x x^T."""
    by_class: Float64[np.ndarray, "classes width"]
    """Sum of x over the images of each class."""
    class_counts: Int64[np.ndarray, " classes"]

    @staticmethod
    def of(x: np.ndarray, classes: Int64[np.ndarray, " images"], n_classes: int) -> Statistics:
        """Of some activations [images width]."""
        x = x.astype(np.float64)
        by_class = np.zeros((n_classes, x.shape[1]))
        np.add.at(by_class, classes, x)
        return Statistics(len(x), x.sum(0), x.T @ x, by_class, np.bincount(classes, minlength=n_classes))

    def plus(self, other: Statistics) -> Statistics:
        """Of the images of both."""
        return Statistics(
            self.n_images + other.n_images,
            self.total + other.total,
            self.products + other.products,
            self.by_class + other.by_class,
            self.class_counts + other.class_counts,
        )


class Ridge(NamedTuple):
    """A linear map from activations to one score a class."""

    weight: Float64[np.ndarray, "classes width"]
    bias: Float64[np.ndarray, " classes"]

    def scores(self, x: np.ndarray) -> Float64[np.ndarray, "images classes"]:
        """Scores of activations [images width]."""
        return x.astype(np.float64) @ self.weight.T + self.bias


def ridge(statistics: Statistics, alpha: float) -> Ridge:
    """The minimum of |Y - XW - b|^2 + alpha |W|^2."""
    n = statistics.n_images
    mean = statistics.total / n
    targets = 2.0 * statistics.by_class - statistics.total[None]
    target_means = 2.0 * statistics.class_counts / n - 1.0
    centred = statistics.products - n * np.outer(mean, mean)
    crossed = targets.T - n * np.outer(mean, target_means)
    weight = np.linalg.solve(centred + alpha * np.eye(len(mean)), crossed).T
    return Ridge(weight, target_means - weight @ mean)


def twice_ranks(scores: np.ndarray, classes: Int64[np.ndarray, " images"]) -> Int64[np.ndarray, " images"]:
    """Twice the mid-rank of each image's class."""
    own = scores[np.arange(len(scores)), classes][:, None]
    return 2 * (scores > own).sum(1) + (scores == own).sum(1) - 1
