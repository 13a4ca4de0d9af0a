"""Categories by a language model: on this machine, behind an endpoint, or from answers that are stored."""

from __future__ import annotations

import hashlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from frozen.data.dataset import Missing
from frozen.models import BackboneError
from frozen.models.chat import ChatModel
from frozen.problems import Problem, at_least, refuse
from readouts.captions.categories.answers import CaptionPart, Nested, parts_of
from readouts.captions.categories.lexicon import LexiconCategoriser
from readouts.captions.categories.names import TABLE_VERSION
from readouts.captions.categories.prompt import VERSION, messages

By = Literal["lexicon", "replay", "hf", "endpoint"]
_MOST_NEW_TOKENS = 1024
_TRIES, _WAIT_S, _TIMEOUT_S = 4, 2.0, 120.0
_WORTH_ANOTHER_TRY = (408, 429, 500, 502, 503, 504)


class CategoriserError(ValueError):
    """A language model that cannot be asked; the message says what to do."""


@runtime_checkable
class Categoriser(Protocol):
    """Finds the parts of captions."""

    def categorise(self, captions: list[str]) -> list[list[CaptionPart] | None]:
        """The parts of each caption, None where its answer could not be read."""
        ...


@dataclass(frozen=True, kw_only=True)
class CategoriesConfig:
    """How parts of captions get their categories."""

    by: By = "lexicon"
    """lexicon: a word list; hf: a language model of Hugging Face on this machine; endpoint: one behind an
    OpenAI-compatible address; replay: stored answers alone."""
    model: str = ""
    """Language model: a repository or folder for hf, the server's name of it for endpoint."""
    answers: str = ""
    """File of answers, a JSON object a line, to which answers are added; a run goes on where it was stopped."""
    url: str = ""
    """Address of the endpoint, such as http://localhost:8000/v1."""
    key_variable: str = "OPENAI_API_KEY"
    """Environment variable that holds the endpoint's key; it is never written down."""
    requests_a_second: float = 4.0
    """Most requests a second."""
    nested: Nested = "flatten"
    """Objects within an answer: flatten counts their parts, drop loses them as the published script does."""

    def __post_init__(self) -> None:
        refuse("categories", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        needed = {"replay": ("answers",), "hf": ("model", "answers"), "endpoint": ("model", "url", "answers")}
        for name in needed.get(self.by, ()):
            if not getattr(self, name):
                yield Problem(name, f"is needed where categories are by {self.by}")
        yield from at_least("requests_a_second", self.requests_a_second, 1e-3)

    def content(self) -> dict[str, str]:
        """What the numbers depend on; of stored answers their content."""
        if self.by == "lexicon":
            return {"by": "lexicon"}
        own = {"by": self.by, "model": self.model, "nested": self.nested, "prompt": str(VERSION)}
        own["labels"] = str(TABLE_VERSION)
        if self.by == "replay":
            there = Path(self.answers).exists()
            own["digest"] = hashlib.sha256(Path(self.answers).read_bytes()).hexdigest() if there else ""
        return own

    def missing(self) -> Missing | None:
        """Stored answers that are not there."""
        if self.by != "replay" or Path(self.answers).exists():
            return None
        return Missing(f"{self.answers} is not there", "name a file of stored answers, or let a model give them")

    def make(self) -> Categoriser:
        """What finds the parts.

        Raises:
            CategoriserError: stored answers, a key or a library that are not there.
        """
        if self.by == "lexicon":
            return LexiconCategoriser()
        ask = None
        if self.by == "endpoint":
            ask = Endpoint(self.url, self.model, _key(self.key_variable), self.requests_a_second)
        elif self.by == "hf":
            ask = LocalModel(self.model)
        return Answers(Path(self.answers), self.model, ask, nested=self.nested)


class Answers:
    """A language model whose answers are kept, so that no caption is asked twice.

    Args:
        path: JSON objects with the keys model, caption and answer, one a line.
        model: whose answers count; empty for those of any model.
        ask: gives the answer to a caption; None if stored ones are all there are.
        nested: what becomes of objects within an answer.
    """

    def __init__(
        self, path: Path, model: str, ask: Callable[[str], str] | None, *, nested: Nested = "flatten"
    ) -> None:
        if ask is None and not path.exists():
            raise CategoriserError(f"{path}: is not there; name a file of answers, or let a model give them")
        self._path, self._model, self._ask = path, model, ask
        self._nested: Nested = nested
        self._known = dict(_stored(path, model))

    def categorise(self, captions: list[str]) -> list[list[CaptionPart] | None]:
        """The parts of each caption; a caption without a stored answer is asked, or is unread without a model."""
        for caption in dict.fromkeys(captions):
            if caption not in self._known and self._ask is not None:
                self._known[caption] = self._ask(caption)
                self._keep(caption)
        return [self._parts(self._known.get(caption)) for caption in captions]

    def _parts(self, answer: str | None) -> list[CaptionPart] | None:
        return None if answer is None else parts_of(answer, nested=self._nested)

    def _keep(self, caption: str) -> None:
        """At once, whatever comes next."""
        entry = {"model": self._model, "caption": caption, "answer": self._known[caption]}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _stored(path: Path, model: str) -> Iterator[tuple[str, str]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        if not model or entry.get("model", model) == model:
            yield entry["caption"], entry["answer"]


class Endpoint:
    """An OpenAI-compatible chat endpoint, asked at most so many times a second.

    Args:
        url: up to and without /chat/completions.
        model: the server's name of it.
        key: of the server; empty for none.
        requests_a_second: most requests a second.
    """

    def __init__(self, url: str, model: str, key: str, requests_a_second: float) -> None:
        self._url, self._model, self._key = f"{url.rstrip('/')}/chat/completions", model, key
        self._pause_s, self._next = 1 / requests_a_second, 0.0

    def __call__(self, caption: str) -> str:
        """The answer.

        Raises:
            CategoriserError: the endpoint refuses, or cannot be reached.
        """
        body = {"model": self._model, "messages": messages(caption), "temperature": 0, "max_tokens": _MOST_NEW_TOKENS}
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self._key}"} if self._key else {}
        )
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)  # noqa: S310, the user's own
        for number in range(_TRIES):
            self._wait()
            try:
                with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:  # noqa: S310
                    return self._text(reply.read())
            except urllib.error.HTTPError as error:
                if error.code not in _WORTH_ANOTHER_TRY or number == _TRIES - 1:
                    raise CategoriserError(f"{self._url} answers {error.code} {error.reason}") from error
                asked = error.headers.get("Retry-After", "")
                time.sleep(float(asked) if asked.isdigit() else _WAIT_S * number)
            except OSError as error:  # no server, or one that stopped in the middle
                if number == _TRIES - 1:
                    reason = getattr(error, "reason", error)
                    raise CategoriserError(f"{self._url} cannot be reached: {reason}") from error
                time.sleep(_WAIT_S * number)
        raise AssertionError

    def _text(self, reply: bytes) -> str:
        try:
            text = json.loads(reply)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError) as error:
            raise CategoriserError(f"{self._url} answers with no chat completion: {reply[:100]!r}") from error
        return text or ""

    def _wait(self) -> None:
        now = time.monotonic()
        time.sleep(max(0.0, self._next - now))
        self._next = max(now, self._next) + self._pause_s


class LocalModel:
    """A chat model of Hugging Face on this machine, greedy.

    Args:
        source: repository or folder.
    """

    def __init__(self, source: str) -> None:
        try:
            self._model = ChatModel(source)
        except BackboneError as error:
            raise CategoriserError(f"categories by hf: {error}") from error

    def __call__(self, caption: str) -> str:
        """The answer."""
        return self._model.answer(messages(caption), _MOST_NEW_TOKENS)


def _key(variable: str) -> str:
    return os.environ.get(variable, "")
