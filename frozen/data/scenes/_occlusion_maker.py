"""Renders the images of OcclusionCLEVR that are not there."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from frozen.data.scenes._base import SPLITS, DataError, SplitName
from frozen.data.scenes._making import Device, MakeError
from frozen.data.scenes._rendered import RenderedFolder, image_name
from frozen.data.scenes.blender import Blender, BlenderError, find_blender


@runtime_checkable
class SpecifiedSplit(Protocol):
    """A split whose images follow from specifications."""

    def specification(self, number: int) -> dict[str, Any]:
        """What Blender has to know of an image."""
        ...

    def __len__(self) -> int: ...


@runtime_checkable
class SpecifiedScene(Protocol):
    """A data set whose images Blender renders."""

    @property
    def rendered(self) -> RenderedFolder: ...

    @property
    def clevr_folder(self) -> str | None: ...

    def size(self, name: SplitName) -> int: ...

    def open(self, name: SplitName, *, complete: bool) -> SpecifiedSplit: ...


class RenderJob(NamedTuple):
    """One image."""

    split: SplitName
    number: int


class OcclusionMaker:
    """Jobs and workers of one data set."""

    unit = "images"

    def __init__(self, scene: SpecifiedScene) -> None:
        self._scene = scene
        self._command: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return str(self._scene.rendered.root)

    @property
    def n_jobs(self) -> int:
        return sum(map(self._scene.size, SPLITS))

    def prepare(self) -> None:
        """Find Blender, and keep the specifications beside the images.

        Raises:
            DataError: there is no Blender, or no folder can be made there.
        """
        self._command = find_blender()
        for name in SPLITS:
            split = self._scene.open(name, complete=True)
            try:
                self._scene.rendered.write_specifications(name, split.specification, len(split))
            except OSError as error:
                raise DataError(f"{self.place} cannot be written ({error}); choose another `folder`") from error

    def jobs(self, *, thorough: bool) -> list[RenderJob]:
        every = {image_name(name, i): RenderJob(name, i) for name in SPLITS for i in range(self._scene.size(name))}
        return [every[name] for name in self._scene.rendered.broken(every, decode=thorough)]

    def worker(self, device: Device, threads: int) -> OcclusionWorker:
        return OcclusionWorker(self._scene, self._command, device, threads)


class OcclusionWorker:
    """A Blender that renders images of one data set; it is started again when it went away."""

    def __init__(self, scene: SpecifiedScene, command: tuple[str, ...], device: Device, threads: int) -> None:
        self._scene, self._command, self._threads = scene, command, threads
        self._device: Device = device
        self._splits: dict[SplitName, SpecifiedSplit] = {}
        self._blender: Blender | None = None

    def make(self, job: RenderJob) -> None:
        if job.split not in self._splits:
            self._splits[job.split] = self._scene.open(job.split, complete=True)
        try:
            self._running().render(self._splits[job.split].specification(job.number))
        except BlenderError as error:
            raise MakeError(f"{image_name(*job)}: {error}") from error

    def _running(self) -> Blender:
        if self._blender is not None and not self._blender.is_alive:
            self.close()
        if self._blender is None:
            self._blender = Blender(
                self._command,
                self._scene.rendered.root,
                clevr_folder=self._scene.clevr_folder,
                device=self._device,
                threads=self._threads,
            )
        return self._blender

    def close(self) -> None:
        if self._blender is not None:
            self._blender.close()
        self._blender = None
