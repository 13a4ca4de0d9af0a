"""One run at a time in a folder at a URL: a lock file, rewritten while it is held.

No clocks are compared: a lock whose content does not change while one looks is of a run that died. Where puts can be
conditional, of runs that start together exactly one makes the file or takes it over. Elsewhere two that start within
the same second may both pass. They then measure cells twice, and corrupt nothing: rows are functions of the study,
and files appear whole.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sweep.store.conditional import ConditionalFile, conditional
from sweep.store.remote import RemoteError, RemoteFolder, without_secrets

LOCK_FILE = "lock.json"
BEAT_S = 4.0
_SETTLE_S = 2.0


class BusyError(RuntimeError):
    """Another run writes to the same results directory."""


@contextmanager
def lease(remote: RemoteFolder, beat_s: float = BEAT_S) -> Iterator[None]:
    """Hold a folder for one run.

    Raises:
        BusyError: another run holds it.
        RemoteError: the place cannot be read or written.
    """
    file = conditional(remote, LOCK_FILE) or _PlainFile(remote)
    found = file.see()
    if found is not None:
        time.sleep(2.5 * beat_s)
        if file.see() not in (found, None):
            raise _busy(remote, found)
    me = {"host": socket.gethostname(), "process": os.getpid(), "run": uuid.uuid4().hex}
    if not file.put(_beat(me, 0)):
        raise _busy(remote, file.see() or b"")
    if isinstance(file, _PlainFile):
        time.sleep(min(_SETTLE_S, beat_s))
        written = file.see()
        if written != _beat(me, 0):
            raise _busy(remote, written or b"")
    heart = _Heart(file, me, beat_s)
    heart.start()
    try:
        yield
    finally:
        heart.stop()
        if heart.holds:
            file.remove()


class _PlainFile:
    """The lock file where puts cannot be conditional."""

    def __init__(self, remote: RemoteFolder) -> None:
        self._remote = remote

    def see(self) -> bytes | None:
        return self._remote.read(LOCK_FILE)

    def put(self, content: bytes) -> bool:
        self._remote.write(LOCK_FILE, content)
        return True

    def remove(self) -> None:
        self._remote.remove(LOCK_FILE)


class _Heart(threading.Thread):
    """Rewrites the lock until it is stopped, or until another run has taken the lock of one that stood still."""

    def __init__(self, file: ConditionalFile | _PlainFile, me: dict[str, Any], beat_s: float) -> None:
        super().__init__(daemon=True)
        self._file, self._me, self._beat_s, self._over = file, me, beat_s, threading.Event()
        self.holds = True

    def run(self) -> None:
        number = 0
        while self.holds and not self._over.wait(self._beat_s):
            number += 1
            try:
                if not self._file.put(_beat(self._me, number)):
                    self.holds = self._is_mine(self._file.see())  # a put that was thought lost may have arrived
            except RemoteError:
                continue  # the network may come back; if it does not, writing rows says so

    def stop(self) -> None:
        self._over.set()
        self.join()

    def _is_mine(self, content: bytes | None) -> bool:
        return self._me["run"].encode() in (content or b"")


def _beat(me: dict[str, Any], number: int) -> bytes:
    return json.dumps({**me, "beat": number}).encode()


def _busy(remote: RemoteFolder, content: bytes) -> BusyError:
    try:
        owner = json.loads(content)
        who = f"process {owner['process']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        who = "another run"
    return BusyError(f"{without_secrets(remote.url)} is in use by {who}")
