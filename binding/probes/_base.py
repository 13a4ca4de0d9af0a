"""What every probe family offers: hyper-parameters as a frozen value, and the logits of a pack.

A pack is several probes of one family and one shape, their parameters stacked along a first axis; a
single probe is a pack of one. All families see the same inputs: activations z, and the true codes minus
one half (teacher forcing), which a mask hides where a head may not see them (paper, section 3.2).

Notation of the shapes: pack P, batch B, width of z d, visible codes c, heads K, rank R.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from frozen.problems import Problem, at_least, refuse
from frozen.registry import frozen_dataclass_problem

Target = Literal["objects", "features", "direct", "given"]
"""objects: O from z. features: F from z. direct: O from z and F. given: O from F alone."""

Parameters = dict[str, Tensor]
"""Name -> tensor [pack, ...] of a pack, or without the first axis for one probe."""

INITIAL_DEVIATION = 0.02


@dataclass(frozen=True)
class HeadShape:
    """Everything a probe's parameter shapes depend on, besides its hyper-parameters."""

    z_dim: int
    """Width d of z, or of one token where z has tokens; 0 where a probe sees no activations."""
    n_heads: int
    """Number K of logits."""
    n_given: int = 0
    """Feature bits that every head sees, appended to the codes (direct estimate)."""
    group_sizes: tuple[int, ...] = ()
    """Sizes of the feature groups where heads are objects; empty where heads are features."""
    has_cls: bool = True
    """Whether the first token is a CLS token (token input only)."""

    @property
    def n_codes(self) -> int:
        """Width of the codes a family is called with: the K true bits, then the given ones."""
        return self.n_heads + self.n_given

    @cached_property
    def mask(self) -> Float[Tensor, "codes heads"]:
        """1 where head k may see code i: true bits before its own, and every given bit."""
        earlier = torch.ones(self.n_heads, self.n_heads).triu(diagonal=1)
        return torch.cat([earlier, torch.ones(self.n_given, self.n_heads)])


class Visible(NamedTuple):
    """The codes a readout sees and the mask that hides them from some heads."""

    codes: Float[Tensor, "batch visible"]
    mask: Float[Tensor, "visible heads"]


class Dropout(NamedTuple):
    """Random numbers for the dropout of a pack in training: one generator for each member."""

    generators: tuple[torch.Generator, ...]

    def keep(self, shape: tuple[int, ...], rates: Float[Tensor, " pack"]) -> Float[Tensor, "pack ..."]:
        """Mask of kept units divided by the kept share, [pack, *shape]."""
        draws = [torch.rand(shape, generator=g, device=g.device) for g in self.generators]
        rates = rates.reshape(-1, *(1 for _ in shape))
        return (torch.stack(draws) >= rates) / (1 - rates)


@dataclass(frozen=True, kw_only=True)
class Probe(ABC):
    """Hyper-parameters of one probe; subclasses are the families.

    Raises:
        ConfigurationError: a hyper-parameter out of range.
    """

    learning_rate: float = 0.01
    """Step size of Adam."""
    weight_decay: float = 0.0
    """L2 penalty, added to the gradient (not decoupled). The paper's is 1e-4, which keeps a probe of a perfect
    code from reaching zero loss; the best validation epoch guards against over-fitting instead."""
    use_conditioned_query: bool = True
    """Whether head k sees the true codes before its own; for attention, whether its query does."""

    family: ClassVar[str]
    learning_rates: ClassVar[tuple[float, float]] = (1e-4, 0.2)
    """Range in which the learning rate is tuned unless a study says otherwise."""
    reads_tokens: ClassVar[bool] = False
    """Whether z is [batch token dim] (mode all) rather than [batch dim]."""
    is_apart: ClassVar[bool] = False
    """Whether members of a pack have no product in common: a CPU gains nothing by training them together."""
    reads_several: ClassVar[bool] = False
    """Whether `logits` also takes a z of its own for every member, [pack batch dim]."""
    objects_only: ClassVar[bool] = False
    """Whether heads must be objects, so that there is no F probe of this family."""

    def __post_init__(self) -> None:
        refuse(self.family, self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not self.learning_rate > 0:
            yield Problem("learning_rate", f"must be > 0, got {self.learning_rate}")
        yield from at_least("weight_decay", self.weight_decay, 0)

    @classmethod
    def refuses(cls, mode: str, target: Target, n_groups: int) -> str | None:
        """Why this family cannot measure a mode and target, or None if it can."""
        if cls.reads_tokens != (mode == "all"):
            return f"{cls.family} reads {'all tokens' if cls.reads_tokens else 'one vector'}, mode {mode} gives " + (
                "all tokens" if mode == "all" else "one vector"
            )
        if cls.objects_only and target == "features":
            return f"{cls.family} shares parameters between objects, it has no probe for features"
        return cls._refuses_groups(n_groups)

    @classmethod
    def _refuses_groups(cls, n_groups: int) -> str | None:
        del n_groups
        return None

    def units(self, shape: HeadShape, n_tokens: int) -> int:
        """About how many numbers a training step holds for every sample, parameters apart."""
        del n_tokens
        return 4 * shape.n_heads

    def without_activations(self) -> Probe:
        """The probe that remains when z is taken away; it is called with a z of width 0."""
        return self

    @abstractmethod
    def structure(self) -> tuple[object, ...]:
        """Hyper-parameters that decide the parameters' shapes; equal structures can share a pack."""

    @abstractmethod
    def n_parameters(self, shape: HeadShape) -> int:
        """Numbers that one probe learns: what `initial` would draw, known before anything is drawn."""

    @abstractmethod
    def initial(self, shape: HeadShape, generator: torch.Generator) -> Parameters:
        """Initial parameters of one probe, float32 on the CPU."""

    @abstractmethod
    def logits(
        self,
        parameters: Parameters,
        shape: HeadShape,
        z: Float[Tensor, "batch *tokens dim"],
        codes: Float[Tensor, "batch codes"],
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "pack batch heads"]:
        """Logits of a pack whose members all have this probe's structure.

        Args:
            parameters: stacked parameters.
            shape: the shape they were made for.
            z: activations.
            codes: true codes minus 0.5, then given feature bits minus 0.5.
            dropout: random numbers in training, None in evaluation.
        """

    def visible(self, shape: HeadShape, codes: Float[Tensor, "batch codes"]) -> Visible:
        """What the readout sees of the codes."""
        start = self._first_visible(shape)
        return Visible(codes[:, start:], shape.mask[start:].to(codes))

    def n_visible(self, shape: HeadShape) -> int:
        """Number c of codes the readout sees."""
        return shape.n_codes - self._first_visible(shape)

    def n_inputs(self, shape: HeadShape) -> int:
        """Width of x_k = [z ; y_k], of which the readout makes the logit of head k."""
        return shape.z_dim + self.n_visible(shape)

    def _first_visible(self, shape: HeadShape) -> int:
        return 0 if self.use_conditioned_query else shape.n_heads


def probe_problem(name: str, part: object) -> str | None:
    """Why a class of another package is no probe family, or None."""
    if problem := frozen_dataclass_problem(part):
        return problem
    if not (isinstance(part, type) and issubclass(part, Probe)):
        return "must be a subclass of binding.probes.Probe"
    if missing := sorted(part.__abstractmethods__):
        return f"a probe needs {', '.join(missing)}"
    if getattr(part, "family", None) != name:
        return f"its `family` must be {name!r}, the name of the entry point"
    without = [item.name for item in fields(part) if item.default is MISSING and item.default_factory is MISSING]
    return f"every hyper-parameter needs a default; {', '.join(without)} has none" if without else None


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Normal numbers with the initial deviation of the paper's probes."""
    return INITIAL_DEVIATION * torch.randn(*shape, generator=generator)


def dense(
    z: Float[Tensor, "*pack batch dim"],
    z_weight: Float[Tensor, "pack dim columns heads"],
    visible: Visible,
    code_weight: Float[Tensor, "pack visible columns heads"],
) -> Float[Tensor, "pack batch columns heads"]:
    """For every head k, [z ; y_k] times its weights, without ever forming [z ; y_k].

    y_k is a masked copy of one vector, so the code part is one product with masked weights.
    """
    pack, _, columns, heads = z_weight.shape
    masked = code_weight * visible.mask[:, None, :]
    out = visible.codes.expand(pack, -1, -1) @ masked.flatten(2)
    out.baddbmm_(z.expand(pack, -1, -1), z_weight.flatten(2))
    return out.view(pack, len(visible.codes), columns, heads)
