"""Conditional puts on object stores, which pyarrow's file systems do not have: by obstore, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from sweep.store.remote import RemoteFolder

_PATIENCE: Any = {
    "max_retries": 2
}  # with keys that only pyarrow finds, obstore would ask a machine's role for minutes


class ConditionalFile:
    """A file at a URL that is written only if nobody else wrote it since it was last seen.

    Args:
        remote: the folder.
        store: the same as obstore has it.
        name: of the file.
    """

    def __init__(self, remote: RemoteFolder, store: Any, name: str) -> None:
        self._remote, self._store, self._name = remote, store, name
        self._obstore, self._errors = import_module("obstore"), import_module("obstore.exceptions")
        self._seen: Any = "create"

    def see(self) -> bytes | None:
        """What the file holds; None if there is none. This is what `put` would replace.

        Raises:
            RemoteError: the place cannot be read.
        """
        try:
            found = self._obstore.get(self._store, self._name)
            content = bytes(found.bytes())
        except FileNotFoundError:
            self._seen = "create"
            return None
        except self._errors.BaseError as error:
            raise self._remote.problem(error) from error
        self._seen = _version(found.meta)
        return content

    def put(self, content: bytes) -> bool:
        """Write the file; False if another has written or removed it since it was seen, and nothing is written.

        Raises:
            RemoteError: the place cannot be written to.
        """
        try:
            done = self._obstore.put(self._store, self._name, content, mode=self._seen, use_multipart=False)
        except (self._errors.AlreadyExistsError, self._errors.PreconditionError, FileNotFoundError):
            return False
        except self._errors.BaseError as error:
            raise self._remote.problem(error) from error
        self._seen = _version(done)
        return True

    def remove(self) -> None:
        """Remove the file, if it is there.

        Raises:
            RemoteError: the place cannot be written to.
        """
        try:
            self._obstore.delete(self._store, self._name)
        except FileNotFoundError:
            return
        except self._errors.BaseError as error:
            raise self._remote.problem(error) from error


def _version(meta: Mapping[str, Any]) -> dict[str, str]:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}


def conditional(remote: RemoteFolder, name: str) -> ConditionalFile | None:
    """A file in a folder at a URL; None where puts cannot be made conditional.

    That is where obstore is missing, finds no keys, or does not know the store, and where the server writes in spite
    of a condition, which is tried.
    """
    try:
        store = _opened(remote.url)
        trial = f".try-{uuid4().hex}"
        first, second = ConditionalFile(remote, store, trial), ConditionalFile(remote, store, trial)
        is_heeded = first.put(b"") and not second.put(b"")
        first.remove()
        return ConditionalFile(remote, store, name) if is_heeded else None
    except Exception:  # noqa: BLE001 - whatever another library says of this URL, pyarrow is the one to judge it
        return None


def _opened(url: str) -> Any:
    """A folder of S3 or Google Cloud Storage, with the settings that pyarrow reads from the URL.

    Raises:
        ValueError: another kind of store.
    """
    stores = import_module("obstore.store")
    parts = urlsplit(url)
    settings = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    user, _, bucket = parts.netloc.rpartition("@")
    config: dict[str, str] = {}
    if parts.scheme == "s3":
        key, _, secret = user.partition(":")
        if endpoint := settings.get("endpoint_override"):
            config["endpoint"] = f"{settings.get('scheme', 'https')}://{endpoint}"
        config |= {"access_key_id": key, "secret_access_key": secret} if secret else {}
        config |= {"region": settings["region"]} if "region" in settings else {}
    elif parts.scheme not in ("gs", "gcs"):
        raise ValueError(f"no conditional puts are known for {parts.scheme}://")
    return stores.from_url(
        f"{'s3' if parts.scheme == 's3' else 'gs'}://{bucket}{parts.path}",
        config=config,
        client_options={"allow_http": settings.get("scheme") == "http", "timeout": "10s"},
        retry_config=_PATIENCE,
    )
