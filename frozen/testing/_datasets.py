"""What every data set of labelled images must satisfy."""

from __future__ import annotations

import pickle
from collections.abc import Iterable

import numpy as np
import pytest

from frozen.data.dataset import Dataset, DatasetSplit

_FEW = 12


class DatasetConformance:
    """Tests that the tests of a data set inherit; a subclass gives the fixture `dataset`, a small data set.

    ```
    class TestMyFolder(DatasetConformance):
        @pytest.fixture
        def dataset(self, tmp_path: Path) -> MyFolder:
            write_my_folder(tmp_path)
            return MyFolder(root=str(tmp_path))
    ```
    """

    @pytest.fixture
    def splits(self, dataset: Dataset) -> list[DatasetSplit]:
        return [dataset.open(name) for name in dataset.splits]

    def test_satisfies_the_protocols(self, dataset: Dataset, splits: list[DatasetSplit]) -> None:
        assert isinstance(dataset, Dataset)
        assert splits
        for name, split in zip(dataset.splits, splits, strict=True):
            assert isinstance(split, DatasetSplit)
            assert split.name == name
            assert len(split) > 0

    def test_what_a_plan_asks_is_known(self, dataset: Dataset, splits: list[DatasetSplit]) -> None:
        assert dataset.missing() is None
        for split in splits:
            assert split.n_skipped >= 0
            assert split.n_skipped or dataset.size(split.name) in (None, len(split))

    def test_a_split_that_is_not_there_is_refused_by_name(self, dataset: Dataset) -> None:
        with pytest.raises(ValueError, match="no split 'nowhere'"):
            dataset.open("nowhere")

    def test_images_are_rgb_bytes_of_the_size_of_the_data_set(
        self, dataset: Dataset, splits: list[DatasetSplit]
    ) -> None:
        for split in splits:
            images = split.images(np.arange(1))
            assert images.shape == (1, dataset.image_size, dataset.image_size, 3)
            assert images.dtype == np.uint8
            assert len(split.images(np.arange(0))) == 0

    def test_every_split_has_the_labels_that_are_declared(self, dataset: Dataset, splits: list[DatasetSplit]) -> None:
        for split in splits:
            few = np.arange(min(_FEW, len(split)))
            for name in dataset.label_names:
                values = split.labels(name, few)
                assert len(values) == len(few)
                names = split.value_names(name)
                if names and values.dtype.kind in "iu" and values.ndim == 1:
                    assert values.min() >= 0
                    assert values.max() < len(names)
                if name in ("mask", "class_mask"):
                    assert values.shape == (len(few), dataset.image_size, dataset.image_size)
            with pytest.raises(ValueError, match="no labels 'nothing'"):
                split.labels("nothing", few)

    def test_a_sample_does_not_depend_on_the_others_of_its_batch(
        self, dataset: Dataset, splits: list[DatasetSplit]
    ) -> None:
        for split in splits:
            indices = np.random.default_rng(0).permutation(len(split))[:_FEW]
            alone = [split.images(indices[i : i + 1])[0] for i in range(len(indices))]
            np.testing.assert_array_equal(split.images(indices), np.stack(alone))
            for name in dataset.label_names:
                own = [split.labels(name, indices[i : i + 1])[0] for i in range(len(indices))]
                _assert_equal(split.labels(name, indices), own)

    def test_the_same_is_opened_again_and_in_another_process(
        self, dataset: Dataset, splits: list[DatasetSplit]
    ) -> None:
        elsewhere = pickle.loads(pickle.dumps(dataset))  # noqa: S301
        for split in splits:
            _assert_same(dataset, split, dataset.open(split.name))
            _assert_same(dataset, split, elsewhere.open(split.name))

    def test_limited_keeps_the_first_samples(self, dataset: Dataset, splits: list[DatasetSplit]) -> None:
        for split in splits:
            part = dataset.limited(2).open(split.name)
            assert len(part) == min(2, len(split))
            first = np.arange(len(part))
            np.testing.assert_array_equal(part.images(first), split.images(first))
            for name in dataset.label_names:
                _assert_equal(part.labels(name, first), split.labels(name, first))

    def test_splits_have_fingerprints_of_their_own(self, splits: list[DatasetSplit]) -> None:
        assert len({split.fingerprint for split in splits}) == len(splits)


def _assert_same(dataset: Dataset, one: DatasetSplit, other: DatasetSplit) -> None:
    assert one.fingerprint == other.fingerprint
    assert len(one) == len(other)
    few = np.arange(min(_FEW, len(one)))
    np.testing.assert_array_equal(one.images(few), other.images(few))
    for name in dataset.label_names:
        _assert_equal(one.labels(name, few), other.labels(name, few))


def _assert_equal(one: Iterable[object], other: Iterable[object]) -> None:
    for mine, its in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, its)
