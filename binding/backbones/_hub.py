"""Files of the Hugging Face hub: from the cache if they are there, else downloaded after one quick knock."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from binding.backbones._base import BackboneError, UnavailableError
from binding.backbones._vision import ADVICE

_KNOCK_S = 5.0
_PREFETCH = "python -m sweep.prefetch STUDY.yaml"


class Repository(NamedTuple):
    """Where on the hub a model lies, and which source of a study it is."""

    name: str
    revision: str | None
    source: str

    def cached(self, file: str) -> Path | None:
        """A file of the cache; no network."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(hf_hub_download(self.name, file, revision=self.revision, local_files_only=True))
        except LocalEntryNotFoundError:
            return None

    def fetch(self, *alternatives: str, refresh: bool = False) -> Path:
        """The first of some files that the repository has.

        A cached file is taken without asking the hub, so that driver and workers see the same weights and
        a run needs no network; `refresh` asks for the newest first.

        Raises:
            BackboneError: not cached, and the hub cannot be reached, or refuses, or has no such file.
        """
        if not refresh:
            for file in alternatives:
                if (path := self.cached(file)) is not None:
                    return path
        for file in alternatives:
            if (path := self._downloaded(file)) is not None:
                return path
        raise BackboneError(
            f"{self.source}: the repository {self.name} has none of {', '.join(alternatives)}; "
            f"name a local file with `weights:`, {ADVICE}"
        )

    def optional(self, file: str, *, refresh: bool = False) -> Path | None:
        """A file that the repository may lack; None also where the hub cannot be asked."""
        if not refresh and (path := self.cached(file)) is not None:
            return path
        try:
            return self._downloaded(file)
        except BackboneError:
            return None

    def _downloaded(self, file: str) -> Path | None:
        """A file of the hub, or None if the repository does not have it."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        try:
            if not _is_offline():  # the download itself would try again for most of a minute
                get_hf_file_metadata(hf_hub_url(self.name, file, revision=self.revision), timeout=_KNOCK_S)
            return Path(hf_hub_download(self.name, file, revision=self.revision))
        except LocalEntryNotFoundError as error:
            raise UnavailableError(self._unreachable(error)) from error
        except EntryNotFoundError:
            return None
        except GatedRepoError as error:
            raise UnavailableError(
                f"{self.source}: the repository {self.name} is gated; ask for access on its page "
                "https://huggingface.co/" + self.name + ", then log in with `hf auth login` or set HF_TOKEN"
            ) from error
        except RevisionNotFoundError as error:
            raise BackboneError(f"{self.source}: {self.name} has no revision {self.revision!r}") from error
        except RepositoryNotFoundError as error:
            raise BackboneError(
                f"{self.source}: the hub has no repository {self.name}, or it is private; check the name, "
                "or log in with `hf auth login` or set HF_TOKEN"
            ) from error
        except HfHubHTTPError as error:
            status = getattr(error.response, "status_code", None)
            if status in (401, 403):
                raise UnavailableError(
                    f"{self.source}: the hub refuses access to {self.name} ({status}); log in with `hf auth login` "
                    "or set HF_TOKEN"
                ) from error
            raise UnavailableError(self._unreachable(error)) from error
        except Exception as error:
            raise UnavailableError(self._unreachable(error)) from error

    def _unreachable(self, error: Exception) -> str:
        from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE

        why = "HF_HUB_OFFLINE is set" if _is_offline() else f"{ENDPOINT} could not be reached: {type(error).__name__}"
        return (
            f"{self.source} is not in the cache {HF_HUB_CACHE}, and {why}; run `{_PREFETCH}` where there is a "
            f"network, name a local file with `weights:`, {ADVICE}"
        )


def _is_offline() -> bool:
    from huggingface_hub.constants import is_offline_mode

    return is_offline_mode()
