"""A list of visible words from WordNet and a list of frequencies, both of the shape of their packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from frozen.data.dataset import DataError
from frozen.data.texts import read_texts
from frozen.data.vocabulary import main, vocabulary

LICENCE = "  1 This software and database is being provided to you | by Princeton\n"
NOUNS = {
    "dog": ("02084071", 5, "dog", 42),
    "can": ("02946921", 6, "can", 2),
    "run": ("00189565", 4, "run", 3),
    "red": ("04963740", 7, "red", 3),
    "rose": ("12620196", 20, "rose", 4),
    "in": ("14641223", 27, "in", 0),
    "paris": ("08932568", 15, "Paris", 5),
    "idea": ("05833840", 9, "idea", 60),
}
"""Word: offset, lexicographer file, how it is written, and how often it was counted."""
COUNTED = "run%2:38:00:: 1 106\nred%5:00:01:chromatic:00 1 43\nrose%5:00:00:chromatic:00 1 1\n"


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    folder = tmp_path / "wordnet"
    folder.mkdir()
    index = [f"{word} n 1 1 @ 1 1 {offset}  \n" for word, (offset, _, _, _) in NOUNS.items()]
    data = [f"{offset} {file:02} n 01 {form} 0 000 | meaning  \n" for offset, file, form, _ in NOUNS.values()]
    (folder / "index.noun").write_text(LICENCE + "".join(index))
    (folder / "data.noun").write_text(LICENCE + "".join(data))
    (folder / "index.adj").write_text(
        LICENCE + "red a 1 1 & 1 1 00381097  \nrose a 1 1 & 1 1 00381999  \nblack a 1 1 ! 1 1 00392812  \n"
    )
    (folder / "data.adj").write_text(
        LICENCE + "00366691 00 a 01 chromatic 0 002 & 00381097 a 0000 & 00381999 a 0000 | of colour  \n"
        "00392812 00 a 01 black 0 000 | of no colour  \n"
    )
    counts = [f"{word}%1:{file:02}:00:: 1 {n}\n" for word, (_, file, _, n) in NOUNS.items() if n]
    (folder / "cntlist.rev").write_text("".join(counts) + COUNTED)
    (tmp_path / "frequencies.txt").write_text(
        "in 9\ncan 8\nrun 7\nred 6\nblack 6\nparis 5\nidea 4\nrose 3\ndog 2\nxyzzy 1\n"
    )
    return folder


def words(wordnet: Path, **settings: object) -> dict[str, str]:
    found = vocabulary(wordnet, wordnet.parent / "frequencies.txt", 20, **settings)  # pyright: ignore
    return {word.word: word.name for word in found}


def test_words_have_the_class_of_their_most_frequent_sense(wordnet: Path) -> None:
    """run is a verb first, red and black are colours, a rose is a plant, Paris a name, in no thing."""
    assert list(words(wordnet).items()) == [
        ("red", "color"), ("black", "color"), ("rose", "plant"), ("dog", "animal")
    ]  # fmt: skip


def test_classes_and_length_can_be_chosen(wordnet: Path) -> None:
    assert words(wordnet, classes=["animal"]) == {"dog": "animal"}
    assert words(wordnet, classes=["all"])["idea"] == "cognition"
    found = [word.rank for word in vocabulary(wordnet, wordnet.parent / "frequencies.txt", 4)]
    assert found == [4]


@pytest.mark.parametrize("name", ["words.csv", "words.txt"])
def test_the_command_writes_what_is_read_by_path(
    wordnet: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frequencies = str(tmp_path / "frequencies.txt")
    assert main([str(tmp_path / name), "--wordnet", str(wordnet), "--frequencies", frequencies]) == 0
    assert "4 words: 1 animal, 2 color, 1 plant" in capsys.readouterr().out
    texts = read_texts(tmp_path / name)
    assert texts.texts == ("red", "black", "rose", "dog")
    assert texts.classes == (("color", "color", "plant", "animal") if name.endswith("csv") else ())


def test_what_is_missing_is_said_with_the_package_that_brings_it(
    wordnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="apt-get install wordnet-base"):
        words(tmp_path)
    arguments = [str(tmp_path / "words.csv"), "--wordnet", str(tmp_path)]
    assert main([*arguments, "--frequencies", str(tmp_path / "frequencies.txt")]) == 2
    assert "has no index.noun" in capsys.readouterr().err
    assert main([str(tmp_path / "words.json")]) == 2
    assert not (tmp_path / "words.csv").exists()


def test_the_packages_themselves(tmp_path: Path) -> None:
    """Where they are installed: what spec and docs say of the list."""
    wordnet = Path("/usr/share/wordnet")
    pytest.importorskip("symspellpy")
    if not (wordnet / "index.noun").exists():
        pytest.skip("wordnet-base is not installed")
    assert main([str(tmp_path / "words.csv")]) == 0
    assert 2_500 < len(read_texts(tmp_path / "words.csv")) < 3_500
