"""Parts of a transformer block: where each can be read, and how its attention can be changed.

Blocks are recognised by what they are made of, not by their class: the two sublayers of timm's ViTs (also with
norms after them, layer scale, EVA's and BEiT's gammas) and of the towers of transformers. A block with anything
else in it is not guessed at: its parts are refused with the reason, and what leaves it can still be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, Literal, NamedTuple, get_args

from torch import Tensor, nn
from torch.nn import functional

BlockPart = Literal["mid", "attention", "mlp", "heads", "mlp_hidden", "values"]
BLOCK_PARTS: tuple[BlockPart, ...] = get_args(BlockPart)
Change = Literal["attention_mask", "attention_weights", "token_choice"]
"""What can be changed in a forward pass: who attends to whom, the weights themselves, which tokens there are."""
CHANGES: tuple[Change, ...] = get_args(Change)

_CHILDREN = {
    "timm": {"norm1", "attn", "ls1", "drop_path1", "norm2", "mlp", "ls2", "drop_path2"},
    "bert": {"layernorm_before", "attention", "layernorm_after", "mlp", "dropout"},
    "dino": {"norm1", "attention", "layer_scale1", "drop_path", "norm2", "mlp", "layer_scale2"},
    "clip": {"layer_norm1", "self_attn", "layer_norm2", "mlp"},
}
_ATTENTION = ("attn", "attention", "self_attn")
_BEFORE_MLP = ("norm2", "layernorm_after", "layer_norm2")
_ADDED_ATTENTION = ("drop_path1", "layer_scale1")
_ADDED_MLP = ("drop_path2", "layer_scale2")
_OUTPUT = ("proj", "o_proj", "out_proj")
_SECOND = ("fc2", "down_proj")
_MASKS = ("attn_mask", "attention_mask", "shared_rel_pos_bias")
_ROTARY = ("rope", "position_embeddings")


class Point(NamedTuple):
    """Where a part can be read in a forward pass.

    Attributes:
        module: has a hook put on it.
        side: whether the part is in what enters the module or in what leaves it.
        shape: of one token's part.
        read: the hooked tensor [batch token ...] to the part [batch token *shape].
        restore: the hooked tensor with another part in its place; None where the part is made anew from its input,
            so that nothing later depends on it.
    """

    module: nn.Module
    side: Literal["input", "output"]
    shape: tuple[int, ...]
    read: Callable[[Tensor], Tensor]
    restore: Callable[[Tensor, Tensor], Tensor] | None


class BlockParts(NamedTuple):
    """What can be read and changed in one block.

    Attributes:
        points: by part.
        refused: reasons, by part or change that cannot be had.
        mask_argument: of the block, to which a mask of [token token] can be given; empty if there is none.
        rotary_argument: of the block, through which the positions of its tokens come; empty if there is none.
        attention: whose softmax passes through `attn_drop` while `fused_attn` is off; None if there is none.
    """

    points: Mapping[str, Point]
    refused: Mapping[str, str]
    mask_argument: str = ""
    rotary_argument: str = ""
    attention: nn.Module | None = None

    def shapes(self) -> tuple[tuple[str, tuple[int, ...] | str], ...]:
        """Of one token's part, or the reason why it cannot be read; () for a change that can be made."""
        found: dict[str, tuple[int, ...] | str] = {name: self.points[name].shape for name in self.points}
        found |= dict.fromkeys(CHANGES, ()) | dict(self.refused)
        return tuple((name, found[name]) for name in (*BLOCK_PARTS, *CHANGES))


def probe(block: nn.Module, *, has_position_bias: bool = False) -> BlockParts:
    """What can be read and changed in a block, from what it is made of.

    Args:
        block: of a vision transformer.
        has_position_bias: whether its model hands it a bias between positions of the whole grid.
    """
    children = dict(block.named_children())
    names = {name for name, module in children.items() if list(module.parameters()) or name in _ADDED_ATTENTION}
    kind = next((kind for kind, known in _CHILDREN.items() if set(children) <= known), None)
    attention = _first(block, _ATTENTION)
    if kind is None or attention is None or "mlp" not in names:
        reason = f"{type(block).__name__} has no attention and MLP that each add to the residual stream"
        return BlockParts({}, dict.fromkeys((*BLOCK_PARTS, *CHANGES), reason))
    points, refused = _points(block, attention)
    known = signature(block.forward).parameters
    mask = next((name for name in _MASKS if name in known), "")
    rotary = next((name for name in _ROTARY if name in known), "")
    is_open = hasattr(attention, "attn_drop") and hasattr(attention, "fused_attn")
    name = type(attention).__name__
    if not mask:
        refused["attention_mask"] = f"{name} takes no mask"
    if not is_open:
        refused["attention_weights"] = hidden_weights(name)
    if has_position_bias or _has_position_bias(attention):
        refused["token_choice"] = f"{name} adds a bias between all positions of the grid"
    return BlockParts(points, refused, mask, rotary, attention if is_open else None)


def hidden_weights(attention: str) -> str:
    """Why the weights of an attention class cannot be changed."""
    return f"{attention} does not show its attention weights"


def common_shapes(blocks: Sequence[BlockParts]) -> tuple[tuple[str, tuple[int, ...] | str], ...]:
    """Shapes and reasons that hold for all blocks; a part that differs between them is refused."""
    if not blocks:
        return ()
    of_blocks = [dict(block.shapes()) for block in blocks]
    return tuple(
        (name, value if all(other[name] == value for other in of_blocks) else f"{name} differs between the blocks")
        for name, value in of_blocks[0].items()
    )


def plain_shapes(
    width: int, n_heads: int, mlp_width: int, **refused: str
) -> tuple[tuple[str, tuple[int, ...] | str], ...]:
    """Shapes of a block all of whose parts can be read and changed, but for those that are refused."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("mid", "attention", "mlp"), (width,))
    shapes |= {"heads": (n_heads, width // n_heads), "mlp_hidden": (mlp_width,)}
    shapes["values"] = shapes["heads"]
    return tuple((name, refused.get(name, shapes.get(name, ()))) for name in (*BLOCK_PARTS, *CHANGES))


def _points(block: nn.Module, attention: nn.Module) -> tuple[dict[str, Point], dict[str, str]]:
    points: dict[str, Point] = {}
    refused: dict[str, str] = {}
    mlp: Any = block.get_submodule("mlp")
    output, second = _first(attention, _OUTPUT), _first(mlp, _SECOND)
    n_heads = int(getattr(attention, "num_heads", 0) or getattr(attention, "num_attention_heads", 0))
    if not isinstance(output, nn.Linear) or not n_heads:
        refused |= dict.fromkeys(("heads", "values"), f"{type(attention).__name__} has no projection of its heads")
    else:
        per_head = (n_heads, output.in_features // n_heads)
        points["heads"] = _split(output, "input", per_head)
        points["values"] = _values(attention, per_head)
    if isinstance(second, nn.Linear):
        points["mlp_hidden"] = _same(second, "input", second.in_features)
    else:
        refused["mlp_hidden"] = f"{type(mlp).__name__} has no last linear layer whose input could be read"
    width = next(int(module.out_features) for module in (output, second) if isinstance(module, nn.Linear))
    points["mid"] = _same(_first_after_attention(block), "input", width)
    points["attention"] = _same(_first(block, _ADDED_ATTENTION) or attention, "output", width)
    points["mlp"] = _same(_first(block, _ADDED_MLP) or mlp, "output", width)
    return points, refused


def _first_after_attention(block: nn.Module) -> nn.Module:
    """The module that the residual stream enters after attention: norms may come before their sublayer or after."""
    order = [name for name, _ in block.named_children()]
    norm = next(name for name in _BEFORE_MLP if name in order)
    is_post_norm = norm == "norm2" and order.index("mlp") < order.index("norm2")
    return block.get_submodule("mlp" if is_post_norm else norm)


def _values(attention: nn.Module, per_head: tuple[int, int]) -> Point:
    """Values of every head: what leaves their projection, or a product of their own where it is never called."""
    separate = getattr(attention, "v_proj", None)
    if isinstance(separate, nn.Linear):
        return _split(separate, "output", (separate.out_features // per_head[1], per_head[1]))
    joint: Any = attention.qkv
    width = per_head[0] * per_head[1]
    bias = getattr(attention, "v_bias", None)
    if bias is not None:  # EVA and BEiT put the bias together in every call, and use the weights without their module
        return Point(
            attention,
            "input",
            per_head,
            lambda x: functional.linear(x, joint.weight[-width:], bias).unflatten(-1, per_head),
            None,
        )

    def restore(hooked: Tensor, values: Tensor) -> Tensor:
        changed = hooked.clone()
        changed[..., -width:] = values.flatten(-2)
        return changed

    return Point(joint, "output", per_head, lambda x: x[..., -width:].unflatten(-1, per_head), restore)


def _same(module: nn.Module, side: Literal["input", "output"], width: int) -> Point:
    return Point(module, side, (width,), lambda hooked: hooked, lambda _hooked, part: part)


def _split(module: nn.Module, side: Literal["input", "output"], per_head: tuple[int, int]) -> Point:
    return Point(
        module, side, per_head, lambda hooked: hooked.unflatten(-1, per_head), lambda _hooked, part: part.flatten(-2)
    )


def _has_position_bias(attention: nn.Module) -> bool:
    names = ("relative_position_bias_table", "rel_pos")
    return any(getattr(attention, name, None) is not None for name in names)


def _first(module: nn.Module, names: Sequence[str]) -> nn.Module | None:
    found = (getattr(module, name, None) for name in names)
    return next((child for child in found if isinstance(child, nn.Module)), None)
