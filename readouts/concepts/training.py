"""Trains several dictionaries of one site together, on one stream of its activations."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from frozen.rows import ArrayRows
from readouts.concepts.checkpoints import read_dictionary
from readouts.concepts.dictionary import Dictionary, DictionaryError
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.stack import Stack, silent_atoms
from readouts.concepts.stream import SiteMoments, Stream, statistics

_POINTS = 100


class DictionaryRun(NamedTuple):
    """A dictionary to train, and the seed of its initial weights."""

    config: DictionaryConfig
    seed: int


class Curve(NamedTuple):
    """What was seen in training, about a hundred times."""

    steps: list[int]
    losses: list[float]
    l0: list[float]


class Trained(NamedTuple):
    """A dictionary, how it came to be, and what it was trained on."""

    dictionary: Dictionary
    curve: Curve
    statistics: SiteMoments
    n_restarts: int
    seconds: float
    """Of the whole stream, all dictionaries together."""


def train(
    array: ArrayRows,
    members: Sequence[DictionaryRun],
    training: TrainingConfig,
    *,
    seed: int,
    device: torch.device,
    buffer_bytes: int = 2**30,
) -> list[Trained]:
    """Dictionaries in the order of the members.

    Args:
        array: activations [samples dim] or [samples token dim]; may be larger than memory.
        members: dictionaries without given weights; those of one kind, size and learning rate run as one.
        training: what they share.
        seed: of the order of the rows and of the restarts.
        device: where they are trained.
        buffer_bytes: most bytes of rows in memory.
    """
    began = time.monotonic()
    found = statistics(array)
    width = array.shape[-1]
    centre = torch.from_numpy(found.mean).float() if training.centre else torch.zeros(width)
    spread = found.deviation if training.centre else found.power**0.5
    scale = width**0.5 / spread if training.scale and spread > 0 else 1.0
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    trained: dict[int, Trained] = {}
    for place, (config, _) in enumerate(members):
        groups[config.kind, config.n_atoms(width), config.learning_rate, config.revival].append(place)
    runs = [
        _Run([members[place] for place in places], width, training, torch.Generator().manual_seed(seed), device)
        for places in groups.values()
    ]
    on_device = centre.to(device)
    batches = Stream(array, training.batch_size, seed, buffer_bytes).batches()
    for step, rows in zip(range(training.steps), batches, strict=False):
        x = (rows.to(device) - on_device) * scale
        for run in runs:
            run.step(x, step)
        if restarts_after(step, training) and any(run.resamples for run in runs):
            more = (next(batches) for _ in range(training.resample_batches - 1))
            pool = torch.cat([x, *((rows.to(device) - on_device) * scale for rows in more)])
            for run in runs:
                run.restart(pool)
    seconds = time.monotonic() - began
    for run, places in zip(runs, groups.values(), strict=True):
        for i, place in enumerate(places):
            dictionary = run.stack.dictionary(i, centre, scale)
            trained[place] = Trained(dictionary, run.curves[i], found, run.n_restarts[i], seconds)
    return [trained[place] for place in range(len(members))]


def given_dictionary(config: DictionaryConfig, width: int) -> Dictionary:
    """A dictionary that is trained already.

    Raises:
        DictionaryError: one of another kind, or of another width than the site's.
    """
    one = read_dictionary(Path(str(config.weights)))
    if one.kind != config.kind or one.width != width:
        raise DictionaryError(
            f"{config.weights}: a {one.kind} dictionary of width {one.width}; {config.kind} of {width} is needed"
        )
    return one


class _Run:
    """A stack and its optimiser."""

    def __init__(
        self,
        members: Sequence[DictionaryRun],
        width: int,
        training: TrainingConfig,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        configs = [member.config for member in members]
        self.stack = Stack(configs, [member.seed for member in members], width, training, device)
        self.rate = configs[0].learning_rate
        self.optimiser = torch.optim.Adam(self.stack.parameters, lr=self.rate, fused=True)
        self.training, self.generator = training, generator
        self.curves = [Curve([], [], []) for _ in members]
        self.n_restarts = [0] * len(members)
        self._fires = torch.zeros(self.stack.encoder.shape[:2], dtype=torch.long, device=device)

    def step(self, x: Float[Tensor, "rows dim"], step: int) -> None:
        """One step of all dictionaries of the stack."""
        training = self.training
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * training.rate_factor(step)
        self.optimiser.zero_grad(set_to_none=True)
        found = self.stack.run(x, training.penalty_factor(step))
        found.loss.sum().backward()
        self.stack.project()
        if training.clip:
            self.stack.clip(training.clip)
        self.optimiser.step()
        self.stack.renormalise()
        self._fires += found.fires
        if step % max(1, training.steps // _POINTS) == 0:
            l0 = found.fires.sum(1) / len(x)
            for curve, loss, active in zip(self.curves, found.loss.tolist(), l0.tolist(), strict=True):
                curve.steps.append(step)
                curve.losses.append(loss)
                curve.l0.append(active)

    @property
    def resamples(self) -> bool:
        """Whether its silent atoms restart."""
        return self.stack.configs[0].revival == "resample"

    def restart(self, pool: Float[Tensor, "rows dim"]) -> None:
        """Restart the atoms that were silent since the last time, at badly modelled rows of a pool."""
        if not self.resamples:
            return
        losses = self.stack.row_losses(pool)
        for i, atoms in enumerate(silent_atoms(self._fires)):
            self.n_restarts[i] += len(restart(self.stack, self.optimiser, i, atoms, pool, losses[i], self.generator))
        self._fires.zero_()


def restarts_after(step: int, training: TrainingConfig) -> bool:
    """Whether silent atoms restart after a step: at regular intervals, and not where they could not settle.

    Nothing restarts while the learning rate falls, nor in the last interval.
    """
    every, done = training.resample_every, step + 1
    last = min(training.steps - every, (1 - training.decay) * training.steps)
    return done % every == 0 and done < last


@torch.no_grad()
def restart(
    stack: Stack,
    optimiser: torch.optim.Optimizer,
    i: int,
    atoms: Int[Tensor, " silent"],
    x: Float[Tensor, "rows dim"],
    losses: Float[Tensor, " rows"],
    generator: torch.Generator,
) -> Int[Tensor, " restarted"]:
    """Point silent atoms of one dictionary at badly modelled rows (section 2.5 of the read-out's method).

    Args:
        stack: of the dictionary.
        optimiser: its Adam; the moments of exactly these atoms are forgotten.
        i: place of the dictionary in the stack.
        atoms: which.
        x: scaled rows to choose from, with probability in proportion to the square of their loss.
        losses: of the rows.
        generator: of the choice.

    Returns:
        The rows chosen, one for each atom that restarted: as many as there are rows.
    """
    atoms = atoms[: len(x)]
    if not len(atoms):
        return atoms
    weights = losses.square().cpu()
    weights = weights if float(weights.sum()) > 0 else torch.ones_like(weights)
    enough = int((weights > 0).sum()) >= len(atoms)
    rows = torch.multinomial(weights if enough else weights + 1e-12, len(atoms), generator=generator).to(x.device)
    origin = stack.bias[i] if stack.training.centred_resampling else torch.zeros_like(stack.bias[i])
    directions = normalize(x[rows] - origin, dim=1)
    alive = torch.ones(stack.encoder.shape[1], dtype=torch.bool, device=x.device)
    alive[atoms] = False
    length = stack.encoder[i][alive].norm(dim=1).mean() if bool(alive.any()) else torch.ones((), device=x.device)
    stack.decoder[i, atoms] = directions
    stack.encoder[i, atoms] = 0.2 * length * directions
    stack.encoder_bias[i, atoms] = 0.0
    if stack.kind == "jumprelu":
        stack.log_threshold[i, atoms] = stack.log_threshold[i][alive].min() if bool(alive.any()) else -2.3
    if stack.kind == "gated":
        stack.gain[i, atoms] = 0.0
        stack.magnitude_bias[i, atoms] = 0.0
    of_atoms = [one for one in stack.parameters if one is not stack.bias]
    for parameter in of_atoms:
        for name in ("exp_avg", "exp_avg_sq"):
            if name in (state := optimiser.state.get(parameter, {})):
                state[name][i, atoms] = 0.0
    return rows
