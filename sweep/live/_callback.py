"""Tune's own callbacks for logs, kept from ending a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray import tune

from sweep.live._guard import Say, guarded


class GuardedCallback(tune.Callback):
    """A callback of Tune's that is dropped when it fails: Tune itself would end the run.

    Args:
        name: of the log.
        inner: the callback.
        say: prints a line.
    """

    def __init__(self, name: str, inner: tune.Callback, say: Say) -> None:
        self._name, self._say = name, say
        self.inner: tune.Callback | None = inner

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks to restore an experiment, which is never done here

    def _call(self, event: str, *arguments: Any, **named: Any) -> None:
        inner = self.inner
        if inner is None:
            return
        if guarded(self._say, f"log {self._name}", lambda: (getattr(inner, event)(*arguments, **named),)) is None:
            self.inner = None


def _forwarded(event: str) -> Callable[..., None]:
    def method(self: GuardedCallback, *arguments: Any, **named: Any) -> None:
        self._call(event, *arguments, **named)

    return method


for _event in ("setup", *(name for name in vars(tune.Callback) if name.startswith("on_"))):
    setattr(GuardedCallback, _event, _forwarded(_event))
