"""Texts and templates that are read by path, and those of scenes."""

from __future__ import annotations

from pathlib import Path

import pytest

from frozen.data.dataset import DataError
from frozen.data.scenes import FewShapes
from frozen.data.texts import filled, read_templates, read_texts, scene_texts


def test_lines_are_texts_each_once_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("# from nowhere\na dog\n\n  a cat \na dog\n", encoding="utf-8-sig")
    texts = read_texts(path)
    assert texts.texts == ("a dog", "a cat")
    assert texts.classes == ()
    path.write_text("a cat\na dog\n")
    assert read_texts(path).fingerprint != texts.fingerprint


def test_a_table_may_have_classes(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("word,class,rank\ndog,animal,1\nred,color,2\ncat,animal,3\n")
    texts = read_texts(path)
    assert texts.texts == ("dog", "red", "cat")
    assert texts.of("animal").texts == ("dog", "cat")
    assert texts.of("animal").classes == ("animal", "animal")
    path.write_text("text\na dog, running\n".replace("a dog, running", '"a dog, running"'))
    assert read_texts(path).texts == ("a dog, running",)
    path.write_text("name\ndog\n")
    with pytest.raises(DataError, match="has no column 'word'"):
        read_texts(path)


def test_files_that_hold_no_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_texts(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match="has no text"):
        read_texts(tmp_path / "empty.txt")
    (tmp_path / "odd.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        read_texts(tmp_path / "odd.txt")


def test_the_templates_that_come_along_can_be_filled(tmp_path: Path) -> None:
    templates = read_templates()
    assert len(templates) >= 8
    sentences = filled(templates, ["dog", "owl"])
    assert sentences[0][0] == "a photo of a dog."
    assert sentences[1][0] == "a photo of an owl."
    assert all("{}" not in sentence for own in sentences for sentence in own)
    (tmp_path / "bad.txt").write_text("a photo\n")
    with pytest.raises(DataError, match=r"has one \{\} for the name, got 'a photo'"):
        read_templates(tmp_path / "bad.txt")


@pytest.mark.parametrize(
    ("template", "name", "sentence"),
    [
        ("a {} there", "owl", "an owl there"),
        ("this is a {}", "egg", "this is an egg"),
        ("a photo of {}", "owl", "a photo of owl"),
        ("a small {}", "egg", "a small egg"),
        ("{}", "owl", "owl"),
    ],
)
def test_an_article_suits_its_name(template: str, name: str, sentence: str) -> None:
    assert filled([template], [name]) == [[sentence]]


def test_scenes_bring_sixteen_phrases_and_eight_words() -> None:
    texts = scene_texts(FewShapes().space)
    assert len(texts.of("kind")) == 16
    assert texts.of("kind").texts[0] == "a red circle"
    assert len(texts.of("color", "shape")) == 8
    assert len(texts) == 24
