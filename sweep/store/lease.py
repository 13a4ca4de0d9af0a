"""One run at a time in a folder at a URL, as far as object stores allow: a lock file, rewritten while it is held.

No clocks are compared: a lock whose content does not change while one looks is of a run that died. Two runs that
start within the same second may both pass. They then measure cells twice, and corrupt nothing: rows are functions of
the study, and files appear whole.
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

from sweep.results.directory import BusyError
from sweep.store.remote import RemoteError, RemoteFolder, without_secrets

LOCK_FILE = "lock.json"
BEAT_S = 4.0
_SETTLE_S = 2.0


@contextmanager
def lease(remote: RemoteFolder, beat_s: float = BEAT_S) -> Iterator[None]:
    """Hold a folder for one run.

    Raises:
        BusyError: another run holds it.
        RemoteError: the place cannot be read or written.
    """
    found = remote.read(LOCK_FILE)
    if found is not None:
        time.sleep(2.5 * beat_s)
        if remote.read(LOCK_FILE) not in (found, None):
            raise _busy(remote, found)
    me = {"host": socket.gethostname(), "process": os.getpid(), "run": uuid.uuid4().hex}
    remote.write(LOCK_FILE, _beat(me, 0))
    time.sleep(min(_SETTLE_S, beat_s))
    written = remote.read(LOCK_FILE)
    if written != _beat(me, 0):
        raise _busy(remote, written or b"")
    over = threading.Event()
    heart = threading.Thread(target=_keep_beating, args=(remote, me, over, beat_s), daemon=True)
    heart.start()
    try:
        yield
    finally:
        over.set()
        heart.join()
        remote.remove(LOCK_FILE)


def _beat(me: dict[str, Any], number: int) -> bytes:
    return json.dumps({**me, "beat": number}).encode()


def _keep_beating(remote: RemoteFolder, me: dict[str, Any], over: threading.Event, beat_s: float) -> None:
    number = 0
    while not over.wait(beat_s):
        number += 1
        try:
            remote.write(LOCK_FILE, _beat(me, number))
        except RemoteError:
            continue  # the network may come back; if it does not, writing rows says so


def _busy(remote: RemoteFolder, content: bytes) -> BusyError:
    try:
        owner = json.loads(content)
        who = f"process {owner['process']} on {owner['host']}"
    except (ValueError, KeyError, TypeError):
        who = "another run"
    return BusyError(f"{without_secrets(remote.url)} is in use by {who}")
