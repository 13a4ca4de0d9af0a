"""Categories of caption parts: the lexicon, odd answers of language models, answers that are kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frozen.models._transformers_files import library
from frozen.problems import ConfigurationError
from readouts.captions.categories import models
from readouts.captions.categories.answers import CaptionPart, parts_of
from readouts.captions.categories.lexicon import LexiconCategoriser, lexicon, unknown_words
from readouts.captions.categories.models import CategoriesConfig, CategoriserError
from readouts.captions.categories.names import CATEGORIES, FUNCTION, merged
from readouts.captions.categories.shares import caption_shares
from sweep.run import main

LEXICON = LexiconCategoriser()


def test_every_word_has_one_of_the_categories() -> None:
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 35
    assert len(lexicon()) > 378
    assert set(lexicon().values()) <= {*CATEGORIES, FUNCTION}


def test_function_words_are_apart_from_words_that_nobody_knows() -> None:
    [parts] = LEXICON.categorise(["A brown dog and the wqzx, 2 apples"])
    assert parts is not None
    assert [part.category for part in parts] == [
        "color",
        "animal",
        "UNKNOWN",
        "quantity & number & size",
        "UNKNOWN",
    ]
    assert unknown_words("A brown dog and the wqzx") == (1, 6)
    assert LEXICON.categorise(["of the"]) == [[]]


@pytest.mark.parametrize(
    ("answer", "kept", "lost"),
    [
        ('{"red": ["color", "", ""], "red": ["color", "", ""]}', ["color", "color"], ["color", "color"]),
        ('{"a": {"red": ["color", "", ""]}, "dog": ["animal"]}', ["color", "animal"], ["animal"]),
        ('{"red": "color", "dog": ["animal", "", ""]}', ["animal"], ["animal"]),
        ('{"red": ["color", ""', None, None),
        ('["red"]', None, None),
        ('{"red": ["crimson", "color", ""], "it": ["", "", ""], "x": []}', ["UNKNOWN"] * 3, ["UNKNOWN"] * 3),
    ],
)
def test_odd_answers(answer: str, kept: list[str] | None, lost: list[str] | None) -> None:
    for nested, expected in (("flatten", kept), ("drop", lost)):
        parts = parts_of(answer, nested=nested)  # pyright: ignore[reportArgumentType]
        assert (None if parts is None else [part.category for part in parts]) == expected


def test_labels_are_merged_whatever_their_case() -> None:
    assert merged("Furniture ") == "indoor scene"
    assert [
        merged(label) for label in ("relation", "season", "light", "architecture", "pattern", "locations or places")
    ] == [
        "position",
        "time",
        "indoor scene",
        "culture",
        "shape & style & state",
        "location",
    ]
    assert merged("MALE") == "person"
    assert merged("Food & Drink") == "food & drink"
    assert {merged(category) for category in CATEGORIES} == set(CATEGORIES)


def test_shares_add_up_and_captions_without_parts_leave_the_mean() -> None:
    captions = ["a red dog", "of", "two cats standing on a table", "red red blue"]
    shares = caption_shares(LEXICON.categorise(captions))
    np.testing.assert_allclose(shares[[0, 2, 3]].sum(axis=1), 100)
    assert np.isnan(shares[1]).all()
    assert shares[3, CATEGORIES.index("color")] == 100
    order = [2, 0, 3, 1]
    again = caption_shares(LEXICON.categorise([captions[i] for i in order]))
    np.testing.assert_array_equal(again, shares[order])
    assert np.isnan(caption_shares([None])).all()


class Server(BaseHTTPRequestHandler):
    """Answers as an OpenAI-compatible endpoint does; the first request finds it busy."""

    asked: list[dict[str, Any]]
    keys: list[str | None]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.keys.append(self.headers["Authorization"])
        self.asked.append(body)
        caption = body["messages"][-1]["content"]
        if caption == "refused":
            self.send_error(401)
            return
        if len(self.asked) == 1:
            self.send_error(503)
            return
        if caption == "odd":
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")
            return
        content = json.dumps({caption: ["animal", "", ""]})
        reply = json.dumps({"choices": [{"message": {"content": content}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    Server.asked, Server.keys = [], []
    with HTTPServer(("127.0.0.1", 0), Server) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/v1"
        found.shutdown()
        thread.join()


def test_an_endpoint_is_asked_once_a_caption_and_its_answers_are_replayed(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "a-key")
    path = tmp_path / "answers.jsonl"
    config = CategoriesConfig(
        by="endpoint", model="m", url=server, answers=str(path), key_variable="MY_KEY", requests_a_second=1000
    )
    expected: list[Any] = [
        [CaptionPart("dog", "animal")],
        [CaptionPart("cat", "animal")],
        [CaptionPart("dog", "animal")],
    ]
    assert config.make().categorise(["dog", "cat", "dog"]) == expected
    assert len(Server.asked) == 3  # one of them found the server busy
    assert set(Server.keys) == {"Bearer a-key"}
    assert "a-key" not in path.read_text()
    assert config.make().categorise(["dog", "cat", "dog"]) == expected
    assert len(Server.asked) == 3
    path.write_text(path.read_text() + '{"caption": "co')  # killed while it wrote
    stored = CategoriesConfig(by="replay", answers=str(path))
    assert stored.make().categorise(["cat", "cow"]) == [[CaptionPart("cat", "animal")], None]
    assert stored.content()["digest"] != CategoriesConfig(by="lexicon").content()


def test_an_endpoint_is_asked_no_faster_than_it_may_be(server: str, tmp_path: Path) -> None:
    config = CategoriesConfig(
        by="endpoint", model="m", url=server, answers=str(tmp_path / "a.jsonl"), requests_a_second=20
    )
    start = time.monotonic()
    config.make().categorise([f"dog {i}" for i in range(4)])
    assert time.monotonic() - start >= 4 / 20  # five requests, as the first one finds the server busy
    assert Server.keys == [None] * 5


def test_what_was_answered_stays_where_a_later_caption_fails(server: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    config = CategoriesConfig(by="endpoint", model="m", url=server, answers=str(path), requests_a_second=1000)
    with pytest.raises(CategoriserError, match="no chat completion"):
        config.make().categorise(["dog", "odd", "cat"])
    n_asked = len(Server.asked)
    assert config.make().categorise(["dog", "cat"]) == [
        [CaptionPart("dog", "animal")],
        [CaptionPart("cat", "animal")],
    ]
    assert [body["messages"][-1]["content"] for body in Server.asked[n_asked:]] == ["cat"]


def test_an_endpoint_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_WAIT_S", 0.0)
    url = "http://127.0.0.1:9/v1"
    config = CategoriesConfig(by="endpoint", model="m", url=url, answers=str(tmp_path / "a"), requests_a_second=1000)
    with pytest.raises(CategoriserError, match="cannot be reached"):
        config.make().categorise(["dog"])


def test_an_endpoint_that_refuses_is_an_error_and_nothing_is_kept(server: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    config = CategoriesConfig(by="endpoint", model="m", url=server, answers=str(path), requests_a_second=1000)
    with pytest.raises(CategoriserError, match="answers 401"):
        config.make().categorise(["refused"])
    assert not path.exists()


def test_what_is_missing_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="url: is needed where categories are by endpoint"):
        CategoriesConfig(by="endpoint", model="m", answers="a")
    with pytest.raises(CategoriserError, match="is not there"):
        CategoriesConfig(by="replay", answers=str(tmp_path / "none")).make()


def write_chat_model(folder: Path, *, template: str | None) -> None:
    """A causal language model with random weights that reads and writes bytes."""
    with library("a chat model") as transformers:
        import tokenizers

        letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
        bytes_only = tokenizers.Tokenizer(
            tokenizers.models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[])
        )
        bytes_only.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        bytes_only.decoder = tokenizers.decoders.ByteLevel()
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bytes_only, eos_token="<end>")
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
        sizes = {"n_positions": 4096, "n_embd": 16, "n_layer": 1, "n_head": 2}
        end = len(letters)
        torch.manual_seed(0)
        config = transformers.GPT2Config(vocab_size=end + 1, bos_token_id=end, eos_token_id=end, **sizes)
        transformers.GPT2LMHeadModel(config).save_pretrained(folder)


TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_a_language_model_of_hugging_face_is_asked_once_a_caption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_MOST_NEW_TOKENS", 12)
    write_chat_model(tmp_path / "model", template=TEMPLATE)
    path = tmp_path / "answers.jsonl"
    config = CategoriesConfig(by="hf", model=str(tmp_path / "model"), answers=str(path))
    captions = ["a red dog", "two cats", "a red dog"]
    first = config.make().categorise(captions)
    stored = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["caption"] for entry in stored] == captions[:2]
    answer = stored[0]["answer"]
    assert answer == models.LocalModel(config.model)("a red dog")  # greedy
    assert answer
    assert first == [parts_of(entry["answer"]) for entry in (stored[0], stored[1], stored[0])]
    # what is stored is not asked again, even by a model that is gone
    assert CategoriesConfig(by="replay", answers=str(path)).make().categorise(captions) == first


def test_a_model_that_is_no_chat_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CategoriserError, match=r"categories by hf: .*none"):
        models.LocalModel(str(tmp_path / "none"))
    write_chat_model(tmp_path / "model", template=None)
    with pytest.raises(CategoriserError, match="no chat template"):
        models.LocalModel(str(tmp_path / "model"))


REPLAY = """\
name: replayed
readout: captions
datasets:
  - {name: twins, scene: twinshapes, split: {train: 2, validation: 2, test: 4}}
backbones: ["shipped:shapes_coca"]
layers: [embed]
candidates: 0
categories: {by: replay, answers: stored/answers.jsonl}
"""


def test_answers_that_are_not_there_are_told_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study.yaml").write_text(REPLAY)
    place = tmp_path / "stored" / "answers.jsonl"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main([str(tmp_path / "study.yaml"), "--plan"]) == 0
    assert f"missing: {place} is not there; name a file of stored answers" in capsys.readouterr().out
    before = sorted(tmp_path.rglob("*"))
    assert main([str(tmp_path / "study.yaml")]) == 2
    assert f"{place} is not there; name a file of stored answers" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    assert main([str(tmp_path / "study.yaml"), "--plan", "--available"]) == 0
    assert "1 left missing" in capsys.readouterr().out
    place.parent.mkdir()
    place.write_text("")
    assert main([str(tmp_path / "study.yaml"), "--plan"]) == 0
    assert "missing" not in capsys.readouterr().out
