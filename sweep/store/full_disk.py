"""A disk without space: the run stops and says so, since every further cell would fail for the same reason."""

from __future__ import annotations

import errno
from pathlib import Path

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class FullDiskError(RuntimeError):
    """There is no space left where a run writes."""


def no_space(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is a full disk or an exhausted quota."""
    while error is not None:
        if isinstance(error, FullDiskError) or (isinstance(error, OSError) and error.errno in _NO_SPACE):
            return True
        error = getattr(error, "cause", None) or error.__cause__ or error.__context__
    return False


def full_disk(where: Path | str) -> FullDiskError:
    """The message for the folder that cannot be written to."""
    return FullDiskError(
        f"no space left on the disk of {where}; what is done is kept, nothing is half written. "
        "Make space (`python -m sweep.clean` lists the store's entries), then run the same command again"
    )
