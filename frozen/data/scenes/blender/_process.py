"""A Blender process that renders one specification after another: Blender starts once for many images."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

_LAST_WORDS = 2000


class BlenderError(RuntimeError):
    """An image that could not be rendered, or a Blender that went away."""


class Blender:
    """A running Blender.

    Args:
        command: what starts the render script, see `find_blender`.
        folder: where images and scenes go.
        clevr_folder: a clone of facebookresearch/clevr-dataset-gen, or none.
        device: cpu, or gpu for the first that OptiX or CUDA finds.
        threads: of the CPU; 0 for all.
        timeout_s: how long starting, or an image, may take.

    Raises:
        BlenderError: it does not start.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        clevr_folder: str | None = None,
        device: Literal["cpu", "gpu"] = "cpu",
        threads: int = 0,
        timeout_s: float = 900.0,
    ) -> None:
        options = ["--folder", str(folder.absolute()), "--device", device, "--threads", str(threads)]
        options += ["--clevr-gen-dir", clevr_folder] if clevr_folder else []
        self._timeout_s = timeout_s
        self._words = TemporaryFile()  # noqa: SIM115  # what Blender prints; lives as long as the process
        self._process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            bufsize=1,
            process_group=0,  # Ctrl-C is for the parent, which closes it
        )
        self.about = self._answer()

    def render(self, specification: Mapping[str, Any]) -> str | None:
        """Render an image.

        Returns:
            None, or why the scene was refused: an object of it is hidden too much.

        Raises:
            BlenderError: the image cannot be rendered, or Blender went away.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(specification) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise self._gone() from None
        answer = self._answer()
        if "error" in answer:
            raise BlenderError(answer["error"])
        return answer.get("refused")

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        watch = threading.Timer(self._timeout_s, self._process.kill)
        watch.start()
        try:
            for line in self._process.stdout:
                if line.startswith("{"):  # Blender greets before the script begins
                    return json.loads(line)
        finally:
            watch.cancel()
        raise self._gone()

    def _gone(self) -> BlenderError:
        code = self._process.wait()
        self._words.seek(0)
        words = self._words.read().decode(errors="replace")[-_LAST_WORDS:].strip()
        return BlenderError(f"Blender ended with code {code}; its last words: {words or '(none)'}")

    @property
    def is_alive(self) -> bool:
        """Whether it can take another specification."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process; what it is rendering is not kept."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._words):
            with contextlib.suppress(OSError):
                stream.close()  # pyright: ignore[reportOptionalMemberAccess]
