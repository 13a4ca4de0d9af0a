"""The read-out's keys of a study file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import ConfigDict
from pydantic import Field as ModelField

from frozen.plain import Plain
from frozen.readout.forms import Border, Distinct, list_of, literal
from frozen.readout.layers import Layers, LayersForm, read_layers, resolved_layers
from frozen.readout.readout import StudyReader
from readouts.class_embedding.deletion import ORDERS, Order
from readouts.class_embedding.patches import PATCH_RULES, PatchRule
from readouts.class_embedding.relevancy import Softmax
from readouts.class_embedding.sublayers import Sublayer, VectorRule

ResidualPart = Literal["residual", "mid", "attention", "mlp"]
RESIDUAL_PARTS: tuple[ResidualPart, ...] = get_args(ResidualPart)
TokenType = Literal["cls", "image", "register", "class", "context"]
TOKEN_TYPES: tuple[TokenType, ...] = get_args(TokenType)
ConditionName = Literal["self_only", "no_cls", "no_cls_renormalised", "context_removed", "class_removed"]
CONDITIONS: tuple[ConditionName, ...] = get_args(ConditionName)
SublayerInput = Literal["sublayer_input", "prev_block"]


class Memory(NamedTuple):
    """One memory: 10.mlp.4 in a study file."""

    block: int
    sublayer: Sublayer
    number: int

    @staticmethod
    def parse(text: str) -> Memory | None:
        """A memory as a study writes it, or None if the text is no such thing."""
        block, _, rest = text.partition(".")
        sublayer, _, number = rest.partition(".")
        if not (block.isdigit() and number.isdigit()) or sublayer not in ("attention", "mlp"):
            return None
        return Memory(int(block), sublayer, int(number))

    def __str__(self) -> str:
        """The text that `parse` reads."""
        return f"{self.block}.{self.sublayer}.{self.number}"


class ClassKeys(Border):
    """Keys of a study with `readout: class_embedding`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    layers: LayersForm = "all"  # pyright: ignore[reportInvalidTypeForm]
    """embed and numbers of blocks, negative ones from the end; or all; or {every: 4}."""
    parts: list_of(literal(RESIDUAL_PARTS)) = RESIDUAL_PARTS  # pyright: ignore[reportInvalidTypeForm]
    """What of a block is read: residual (what leaves it), mid, and what attention and mlp add."""
    tokens: list_of(literal(TOKEN_TYPES)) = TOKEN_TYPES  # pyright: ignore[reportInvalidTypeForm]
    """Kinds of tokens; those that the model or the data set does not have are left out."""
    split: str = "test"
    """The split that is read."""
    conditions: Annotated[tuple[literal(CONDITIONS), ...], Distinct] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Changes of the forward pass: self_only, no_cls, no_cls_renormalised, context_removed, class_removed."""
    memories: bool = False
    """Whether attention and MLP are read as key-value memories: class-value and key-value agreement, the agreement
    with another class as a control, match."""
    inspect: Annotated[tuple[str, ...], Distinct] = ()
    """Single memories to look at, as 10.mlp.4: which classes they favour, and the images in which they fire."""
    attribution: bool = False
    """Whether the logits are shared out exactly among all that was added to the residual stream."""
    deletion: Annotated[tuple[literal(ORDERS), ...], Distinct] = ()  # pyright: ignore[reportInvalidTypeForm]
    """Orders in which image tokens are removed: relevancy (gradients of every block's class projection), chefer,
    mask (an oracle, of data sets with masks), random, logit (relevancy by the gradient of the class's logit),
    other_class (relevancy for another class, a control) and probe (the ranks that every block's probe gives the
    class; it needs probe_positions: all)."""
    deletion_steps: Annotated[int, ModelField(ge=1)] | None = 16
    """Steps from all tokens to none; null for one token at a time, as the paper has it."""
    random_orders: Annotated[int, ModelField(ge=1)] = 10
    """Random orders, each shared by all images."""
    head_relevancy: bool = False
    """Whether relevancy is also kept apart for every block and head, with maps for the report."""
    bound_class: bool = False
    """Whether tokens of images of two objects name the objects that are there, or others of the same features; of
    scenes whose classes are the kinds of their objects."""
    probe: bool = False
    """Whether linear probes are trained for comparison: ridge regression on CLS and on every image token."""
    probe_split: str = "train"
    """The split that probes are trained on."""
    probe_alpha: Annotated[float, ModelField(gt=0)] = 1.0
    """Their penalty."""
    probe_positions: Literal["mean", "all"] = "mean"
    """Whether one probe reads the mean of the image tokens, or each position has its own (as the paper has it)."""
    preset: Literal["paper"] | None = None
    """paper: every setting below that is not given is as the paper's programs have it."""
    class_patches: Literal[PATCH_RULES] = "any"  # pyright: ignore[reportInvalidTypeForm]
    """When an image token shows the class: any of its pixels does, at least half of them, or the top left one (as the
    paper has it)."""
    sublayer_input: Literal["sublayer_input", "prev_block"] = "sublayer_input"
    """What the class logit of an MLP's output is compared with: what enters it, or the block before (as the paper
    has it); for attention the two are one."""
    average: Literal["images", "tokens"] = "images"
    """Whether every image counts the same, or every token (as the paper has it where no token is removed)."""
    count_cls: bool = False
    """Whether the rates of image tokens under a condition count the CLS token too, as the paper's do."""
    test_mlp: bool = True
    """Whether `composed` leaves out what is the MLP's; the paper's program tests attention twice, never the MLP."""
    softmax: Literal["single", "double"] = "single"
    """Relevancy differentiates the cross-entropy of the logits, or of their softmax (as the paper's programs do)."""
    value_vectors: Literal["folded", "raw"] = "folded"
    """Value vectors as they reach the classifier (layer scale, centring and gains of the norms folded in), or as they
    stand in the output matrix (as the paper has it)."""
    skip_first: bool = False
    """Whether rates and rises of a model without CLS leave out its first image token, as the paper's programs do."""
    auc: Literal["trapezoid", "paper"] = "trapezoid"
    """Area below the deletion curve, from no token to all; or the paper's sum over 1 to N - 1 tokens, divided by N
    and the largest accuracy."""
    permutations: Annotated[int, ModelField(ge=0)] = 1000
    """Permutations behind each p-value."""


@dataclass(frozen=True, kw_only=True)
class ClassStudy:
    """The same, as frozen values."""

    layers: Layers
    parts: tuple[ResidualPart, ...]
    tokens: tuple[TokenType, ...]
    split: str
    conditions: tuple[ConditionName, ...]
    memories: bool = False
    inspect: tuple[Memory, ...] = ()
    attribution: bool = False
    deletion: tuple[Order, ...] = ()
    deletion_steps: int | None = 16
    random_orders: int = 10
    head_relevancy: bool = False
    bound_class: bool = False
    probe: bool = False
    probe_split: str = "train"
    probe_alpha: float = 1.0
    probe_positions: Literal["mean", "all"] = "mean"
    class_patches: PatchRule = "any"
    sublayer_input: SublayerInput = "sublayer_input"
    average: Literal["images", "tokens"] = "images"
    count_cls: bool = False
    test_mlp: bool = True
    softmax: Softmax = "single"
    value_vectors: VectorRule = "folded"
    skip_first: bool = False
    auc: Literal["trapezoid", "paper"] = "trapezoid"
    permutations: int = 1000

    def resolved(self) -> Mapping[str, Plain]:
        """In the form of a study file; the preset's settings are written out."""
        own: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        lists = {name: list(own[name]) for name in ("parts", "tokens", "conditions", "deletion")}
        return {**own, **lists, "inspect": list(map(str, self.inspect)), "layers": resolved_layers(self.layers)}


PAPER: dict[str, Any] = {
    "class_patches": "corner",
    "sublayer_input": "prev_block",
    "average": "tokens",
    "count_cls": True,
    "test_mlp": False,
    "softmax": "double",
    "value_vectors": "raw",
    "skip_first": True,
    "auc": "paper",
    "deletion_steps": None,
    "probe_positions": "all",
    "permutations": 300,
}
"""What moves a number of the paper, as its programs have it."""

_SWITCHES = (
    "memories",
    "attribution",
    "random_orders",
    "head_relevancy",
    "bound_class",
    "probe",
    "probe_split",
    "probe_alpha",
)


def read_keys(reader: StudyReader) -> ClassStudy | None:
    """The read-out's keys, or None if they have mistakes, which are noted."""
    study = reader.study
    if study is None or (layers := read_layers(reader, ("layers",), study.layers)) is None:
        return None
    given = study.model_fields_set
    memories = [Memory.parse(text) for text in study.inspect]
    for place, (text, memory) in enumerate(zip(study.inspect, memories, strict=True)):
        if memory is None:
            reader.note(("inspect", place), f"a memory is BLOCK.attention.NUMBER or BLOCK.mlp.NUMBER, got {text!r}")
    if None in memories:
        return None
    made = ClassStudy(
        layers=layers,
        parts=tuple(part for part in RESIDUAL_PARTS if part in study.parts),
        tokens=tuple(kind for kind in TOKEN_TYPES if kind in study.tokens),
        split=study.split,
        conditions=tuple(name for name in CONDITIONS if name in study.conditions),
        deletion=tuple(name for name in ORDERS if name in study.deletion),
        inspect=tuple(filter(None, memories)),
        **{name: getattr(study, name) for name in (*_SWITCHES, *PAPER)},
    )
    if study.preset != "paper":
        return made
    return replace(made, **{name: value for name, value in PAPER.items() if name not in given})
