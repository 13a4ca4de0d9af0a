"""Object words against instance labels: hand-made captions, and photos of drawn scenes whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from frozen.readout.cells import Cell
from frozen.readout.study import Study
from frozen.testing import ReadoutConformance
from readouts.captions.exhibits._ladder import draw_ladder
from readouts.captions.object_words import ObjectWords, object_word_columns
from readouts.captions.readout import CaptionsReadout
from sweep.study.load import load_study
from tests.readouts.captions.photos import write_photos

COCO = (
    "person",
    "bicycle",
    "traffic light",
    "bear",
    "teddy bear",
    "hot dog",
    "dog",
    "orange",
    "elephant",
    "knife",
    "tie",
)
WORDS = ObjectWords(COCO)


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("Two women and a man on bikes", {"person", "bicycle"}),
        ("a traffic light, a dog", {"traffic light", "dog"}),
        ("a hot dog on a plate", {"hot dog"}),
        ("two hotdogs and some puppies", {"hot dog", "dog"}),
        ("a teddy bear", {"teddy bear"}),
        ("teddy bears beside a bear", {"teddy bear", "bear"}),
        ("a baby elephant", {"elephant"}),
        ("an orange cat", set()),
        ("oranges and knives", {"orange", "knife"}),
        ("a man in a bow tie", {"person", "tie"}),
        ("people people person", {"person"}),
        ("the doghouse of a dogged mandolin", set()),
        ("", set()),
    ],
)
def test_what_a_caption_names(caption: str, named: set[str]) -> None:
    assert {COCO[number] for number, *_ in WORDS.places(caption)} == named


def test_categories_of_other_lists_have_their_names_and_plurals() -> None:
    words = ObjectWords(("fire engine", "tie", "box"))
    assert words.named(["two fire engines", "boxes", "a fire", "ties"]).tolist() == [
        [True, False, False],
        [False, False, True],
        [False, False, False],
        [False, True, False],
    ]


def test_counts_by_hand_and_chance_over_the_other_images() -> None:
    instances = np.zeros((3, len(COCO)), dtype=int)
    instances[0, COCO.index("person")] = 5
    instances[0, COCO.index("dog")] = 1
    instances[1, COCO.index("dog")] = 1
    found = object_word_columns(["a man and a bear", "a dog, a dog and a person", "nothing here"], instances, WORDS)
    assert found["things"].tolist() == [2, 1, 0]
    assert found["thing_hits"].tolist() == [1, 1, 0]
    assert found["things_named"].tolist() == [2, 2, 0]
    assert found["things_invented"].tolist() == [1, 1, 0]
    assert found["invents"].tolist() == [1, 1, 0]
    # image 0: person is in none of the other two, bear in none; image 1: dog in one of two, person in one of two
    assert found["thing_chance_hits"].tolist() == [0, 1, 0]
    assert found["things_chance_invented"].tolist() == [2, 1, 0]


def test_one_sentence_for_all_is_as_good_as_chance() -> None:
    rng = np.random.default_rng(0)
    instances = (rng.random((300, len(COCO))) < 0.4).astype(int)
    found = {name: of.sum() for name, of in object_word_columns(["a dog"] * 300, instances, WORDS).items()}
    assert found["thing_hits"] == pytest.approx(found["thing_chance_hits"])
    assert found["things_invented"] == pytest.approx(found["things_chance_invented"])


STUDY = """\
name: photos
readout: captions
datasets:
  - name: photos
    data: coco_captions
    root: {root}
    shards: ["train=train.tar", "test=test.tar"]
    instances: {root}/instances.json
    transform: {{size: 64}}
backbones: ["shipped:shapes_coca"]
layers: [embed, 5]
translators: [none, affine]
candidates: 3
controls: [shuffled, blank]
intervals: {{resamples: 100}}
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Study:
    root = tmp_path_factory.mktemp("photos")
    write_photos(root)
    (root / "study.yaml").write_text(STUDY.format(root=root))
    return load_study(root / "study.yaml")


class TestPhotos(ReadoutConformance):
    @pytest.fixture
    def readout(self) -> CaptionsReadout:
        return CaptionsReadout()

    @pytest.fixture
    def study(self, photos: Study) -> Study:
        return photos

    def test_the_last_layer_names_what_is_there(self, outcomes: dict) -> None:
        """Scenes as photos: the decoder writes whole captions, and shapes are the instance labels."""
        rows = {(cell.names, cell.control): outcome.row for cell, outcome in outcomes.items()}
        last = rows[("5", "none"), None]
        assert last["object_word_recall_percent"] > 95
        assert last["hallucination_percent"] < 5
        assert last["hallucinating_percent"] < 10
        assert last["retrieval_percent"] > 90
        assert last["object_word_recall_chance_percent"] < 80
        assert last["exact_percent"] is last["choice_accuracy_percent"] is last["object_recall_percent"] is None
        assert rows[("5", "affine"), None]["object_word_recall_percent"] > 80
        blank = rows[("5", "none"), "blank"]
        assert blank["object_word_recall_percent"] == pytest.approx(
            blank["object_word_recall_chance_percent"], abs=1e-6
        )
        for name in ("object_word_recall_percent", "retrieval_percent", "hallucination_percent"):
            assert last[f"{name}_low"] <= last[name] <= last[f"{name}_high"]

    def test_what_a_plan_warns_of(self, readout: CaptionsReadout, cells: list[Cell], tmp_path: Path) -> None:
        assert list(readout.warnings(cells)) == []
        text = STUDY.format(root=tmp_path).replace(f"    instances: {tmp_path}/instances.json\n", "")
        (tmp_path / "study.yaml").write_text(text)
        bare = [made for made in readout.cells(load_study(tmp_path / "study.yaml")) if isinstance(made, Cell)]
        [warning] = readout.warnings(bare)
        assert warning.startswith("photos: images without instance labels")

    def test_what_a_paper_says(self, readout: CaptionsReadout, photos: Study, outcomes: dict) -> None:
        rows = [outcome.row for outcome in outcomes.values()]
        method = readout.method(photos, rows)
        assert "CHAIR" in method.text
        assert "Colour and shape words" not in method.text
        assert "2 other images" in method.text
        assert any("rohrbach2018object" in one for one in method.bibtex)

    def test_the_ladder_marks_object_words(self, photos: Study, outcomes: dict, tmp_path: Path) -> None:
        import pyarrow.parquet as pq

        (tmp_path / "samples").mkdir()
        rows = []
        for cell, outcome in outcomes.items():
            if cell.control is None and cell.names[1] == "none":
                pq.write_table(outcome.samples, tmp_path / "samples" / f"{cell.cell_id}.parquet")
                rows.append({**dict(cell.columns), **outcome.row, "cell_id": cell.cell_id})
        figure = draw_ladder(tmp_path, rows, photos.datasets[0].config)
        assert isinstance(figure, Figure)
        texts = [text for axes in figure.axes for text in axes.texts]
        colors = {
            text.get_color() for text in texts if text.get_text() in ("circle", "square", "triangle", "diamond")
        }
        assert "#0b6e4f" in colors
        assert "two" in {text.get_text() for text in texts if text.get_color() == "#6b7480"}
