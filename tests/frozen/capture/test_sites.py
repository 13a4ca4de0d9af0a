"""Sites of every kind of block, against what the models themselves compute."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from frozen.capture.sites import PARTS, Site, sites
from frozen.models import BackboneError, Description, TokenLayout
from frozen.models._timm import tower_of
from tests.frozen.capture.nets import (
    DEPTH,
    EXACT,
    HEADS,
    IMAGE,
    N_CLASSES,
    NETS,
    PARALLEL,
    WIDTH,
    backbone,
    backbone_of,
    batch,
    images,
    make,
    model_of,
    pixels,
    read,
)

TOKEN_POOLED = [
    name for name in NETS if getattr(model_of(backbone(name)), "global_pool", "") == "token" and name != "distilled"
]
AVERAGED = [name for name in NETS if getattr(model_of(backbone(name)), "global_pool", "") == "avg"]
TABLE = Description(("embed", "0", "1", "final"), TokenLayout(True, 0, (2, 2), 8), 32)


@pytest.mark.parametrize(
    ("text", "site"),
    [
        (11, Site("11")),
        ("11", Site("11")),
        ("-1", Site("-1")),
        ("embed", Site("embed")),
        ("final", Site("final")),
        ("11.attention", Site("11", "attention")),
        ("-1.mlp", Site("-1", "mlp")),
        ("3.heads", Site("3", "heads")),
        ("3.heads.2", Site("3", "heads", 2)),
        ("3.logits", Site("3", "logits")),
        ("embed.logits", Site("embed", "logits")),
        ("logits", Site("final", "logits")),
        ("embedding", Site("final", "embedding")),
    ],
)
def test_a_site_is_the_text_of_a_study(text: str | int, site: Site) -> None:
    assert Site.parse(text) == site
    assert str(site) == str(text)
    assert Site.parse(str(site)) == site


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3.atention", "no part 'atention'.*did you mean attention"),
        ("3.mlp.2", "only heads and values have numbers"),
        ("3.heads.x", "LAYER, LAYER.PART or LAYER.heads.NUMBER"),
        ("3.heads.1.2", "LAYER, LAYER.PART or LAYER.heads.NUMBER"),
        (".mlp", "LAYER, LAYER.PART or LAYER.heads.NUMBER"),
        ("3.embedding", "pooled at the end"),
        ("final.mlp", "mlp is a part of blocks"),
        ("embed.heads", "heads is a part of blocks"),
    ],
)
def test_texts_of_another_form_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Site.parse(text)


def test_blocks_are_counted_from_the_end_too() -> None:
    assert Site.parse("-1.mlp").resolved(TABLE) == Site("1", "mlp")
    assert Site.parse("-2").resolved(TABLE) == Site("0")
    assert Site.parse("embed").resolved(TABLE) == Site("embed")
    with pytest.raises(ValueError, match="has 2 blocks"):
        Site.parse("-3").resolved(TABLE)


def test_a_model_that_shows_only_layers_has_only_their_tokens() -> None:
    assert sites(TABLE) == (Site("embed"), Site("0"), Site("1"), Site("final"))
    assert "only" in str(Site("0", "mlp").refusal(TABLE))
    assert "no classifier" in str(Site("0", "logits").refusal(TABLE))
    assert "no layer 7; there are embed, 0, 1, final" in str(Site("7").refusal(TABLE))


@pytest.mark.parametrize("name", NETS)
def test_every_block_of_these_kinds_has_every_part(name: str) -> None:
    model = backbone(name)
    found = sites(model.description)
    assert len(found) == DEPTH * (len(PARTS) - 1) + len(("embed", "embed.logits", "final", "embedding", "logits"))
    values = read(model, batch(), *map(str, found))
    for site in found:
        value = values[str(site)]
        assert tuple(value.shape) == (3, *site.shape(model.description)), site
        assert value.dtype == torch.float64
        assert torch.isfinite(value).all()


def test_shapes_by_hand() -> None:
    description = backbone("registers").description
    tokens = 1 + 4 + 16
    expected = {
        "1": (tokens, WIDTH),
        "1.heads": (tokens, HEADS, WIDTH // HEADS),
        "1.heads.2": (tokens, WIDTH // HEADS),
        "1.mlp_hidden": (tokens, 4 * WIDTH),
        "1.logits": (tokens, N_CLASSES),
        "logits": (N_CLASSES,),
        "embedding": (WIDTH,),
    }
    assert {name: Site.parse(name).shape(description) for name in expected} == expected
    assert "numbered 0 to 2" in str(Site.parse("1.heads.3").refusal(description))


@pytest.mark.parametrize("name", TOKEN_POOLED)
def test_the_last_cls_token_projects_to_the_models_output(name: str) -> None:
    model, given = backbone(name), batch()
    found = read(model, given, "-1.logits", "logits")
    expected = model_of(model)(pixels(given.images))
    torch.testing.assert_close(found["-1.logits"][:, 0], expected, **EXACT)
    torch.testing.assert_close(found["logits"], expected, **EXACT)


@pytest.mark.parametrize("name", AVERAGED)
def test_models_that_average_project_the_mean_token_and_not_the_mean_projection(name: str) -> None:
    model, given = backbone(name), batch()
    net = model_of(model)
    found = read(model, given, "-1", "-1.logits", "logits", "embedding")
    expected = net(pixels(given.images))
    spatial = slice(model.description.layout.n_prefix, None)
    pooled = net.fc_norm(net.norm(found["-1"])[:, spatial].mean(1))
    torch.testing.assert_close(net.head(pooled), expected, **EXACT)
    torch.testing.assert_close(found["logits"], expected, **EXACT)
    torch.testing.assert_close(found["embedding"], pooled, **EXACT)
    by_token = net.head(net.fc_norm(net.norm(found["-1"])))
    torch.testing.assert_close(found["-1.logits"], by_token, **EXACT)
    is_linear_after_pooling = isinstance(net.fc_norm, nn.Identity)
    changed = (found["-1.logits"][:, spatial].mean(1) - expected).abs().max()
    assert (changed > 1e-2) != is_linear_after_pooling


def test_distilled_models_average_two_classifiers() -> None:
    model, given = backbone("distilled"), batch()
    net = model_of(model)
    found = read(model, given, "-1", "-1.logits", "logits")
    both = (found["-1.logits"][:, 0] + net.head_dist(net.norm(found["-1"][:, 1]))) / 2
    torch.testing.assert_close(both, net(pixels(given.images)), **EXACT)
    torch.testing.assert_close(found["logits"], both, **EXACT)


@pytest.mark.parametrize("name", NETS)
def test_what_the_sublayers_add_is_the_residual_stream(name: str) -> None:
    model = backbone(name)
    blocks = [str(i) for i in range(DEPTH)]
    parts = [f"{i}.{part}" for i in blocks for part in ("attention", "mid", "mlp")]
    found = read(model, batch(), "embed", *blocks, *parts)
    total = found["embed"].clone()
    for before, block in pairwise(("embed", *blocks)):
        middle = found[before] + found[f"{block}.attention"]
        torch.testing.assert_close(found[f"{block}.mid"], middle, **EXACT)
        torch.testing.assert_close(found[block], middle + found[f"{block}.mlp"], **EXACT)
        total += found[f"{block}.attention"] + found[f"{block}.mlp"]
        assert min(found[f"{block}.{part}"].abs().max() for part in ("attention", "mlp")) > 1e-2
    torch.testing.assert_close(total, found[blocks[-1]], **EXACT)


def added(block: Any, sublayer: str, output: Tensor) -> Tensor:
    """What leaves a sublayer's last linear layer, as it is added to the residual stream."""
    number = "1" if sublayer == "attn" else "2"
    order = [child for child, _ in block.named_children()]
    if order.index(sublayer) < order.index(f"norm{number}"):
        output = getattr(block, f"norm{number}")(output)
    gamma = getattr(block, f"gamma_{number}", None)
    output = output if gamma is None else gamma * output
    return getattr(block, f"ls{number}", nn.Identity())(output)


@pytest.mark.parametrize("name", NETS)
def test_heads_and_hidden_units_give_what_is_added(name: str) -> None:
    model = backbone(name)
    names = [f"{i}.{part}" for i in range(DEPTH) for part in ("heads", "attention", "mlp_hidden", "mlp")]
    found = read(model, batch(), *names)
    for i, block in enumerate(model_of(model).blocks):
        heads, projection = found[f"{i}.heads"], block.attn.proj
        joint = added(block, "attn", projection(heads.flatten(2)))
        torch.testing.assert_close(found[f"{i}.attention"], joint, **EXACT)
        weights = projection.weight.unflatten(1, heads.shape[2:])  # [dim head unit]
        bias = 0 if projection.bias is None else projection.bias
        by_head = sum(heads[:, :, h] @ weights[:, h].T for h in range(HEADS)) + bias
        torch.testing.assert_close(found[f"{i}.attention"], added(block, "attn", by_head), **EXACT)
        hidden = block.mlp.fc2(found[f"{i}.mlp_hidden"])
        torch.testing.assert_close(found[f"{i}.mlp"], added(block, "mlp", hidden), **EXACT)


@pytest.mark.parametrize("name", ["token", "gap", "miil", "norms", "deit3"])
def test_hidden_units_are_read_after_their_activation(name: str) -> None:
    model = backbone(name)
    found = read(model, batch(), "1.mid", "1.mlp_hidden")
    block = model_of(model).blocks[1]
    before = found["1.mid"] if name == "gap" else block.norm2(found["1.mid"])
    first = block.mlp.fc1(before)
    torch.testing.assert_close(found["1.mlp_hidden"], block.mlp.norm(block.mlp.act(first)), **EXACT)
    if name in ("token", "deit3"):
        activated = block.mlp.act(first)
        five_positive = (first > 0).sum(-1) >= 5
        top = [value.topk(5, dim=-1).indices.sort(-1).values for value in (first, activated)]
        assert five_positive.all()
        assert torch.equal(*top)


@pytest.mark.parametrize("name", [name for name in NETS if name != "diff"])
def test_heads_are_weighted_values(name: str) -> None:
    """The weights are taken from the attention that is not fused; sites are read from the fused one."""
    model, given = backbone(name), batch()
    seen: list[Tensor] = []
    attention = model_of(model).blocks[1].attn
    found = read(model, given, "1.heads", "1.values", "1.heads.2", "1.values.0", "0")
    assert attention.fused_attn
    handle = attention.attn_drop.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    attention.fused_attn = False
    try:
        read(model, given, "1")
    finally:
        attention.fused_attn = True
        handle.remove()
    torch.testing.assert_close(seen[0].sum(-1), torch.ones_like(seen[0].sum(-1)), **EXACT)
    expected = torch.einsum("bhqk,bkhd->bqhd", seen[0], found["1.values"])
    if isinstance(getattr(attention, "norm", None), nn.Module):
        expected = attention.norm(expected.flatten(2)).unflatten(-1, expected.shape[2:])
    if name == "gated":
        gate = attention.gate(model_of(model).blocks[1].norm1(found["0"])).sigmoid()
        expected = expected * gate.unflatten(-1, expected.shape[2:])
    torch.testing.assert_close(found["1.heads"], expected, **EXACT)
    assert torch.equal(found["1.heads.2"], found["1.heads"][:, :, 2])
    assert torch.equal(found["1.values.0"], found["1.values"][:, :, 0])


@pytest.mark.parametrize("name", NETS)
def test_tokens_do_not_mix_before_the_first_block(name: str) -> None:
    model = backbone(name)
    layout = model.description.layout
    pictures = images(1)
    other = pictures.copy()
    other[:, 8:16, 16:24] = 255 - other[:, 8:16, 16:24]  # patch 6 of the 4 x 4 grid
    plain, changed = (read(model, batch(shown), "embed", "embed.logits", "0") for shown in (pictures, other))
    assert plain["embed"].shape[1] == layout.n_prefix + 16 == layout.n_tokens
    differs = (plain["embed.logits"] != changed["embed.logits"]).any(-1)[0]
    assert differs.nonzero().flatten().tolist() == [layout.n_prefix + 6]
    assert (plain["0"] != changed["0"]).any(-1).sum() > 1


@pytest.mark.parametrize("name", PARALLEL)
def test_blocks_without_two_sublayers_show_what_leaves_them_and_say_why(name: str) -> None:
    model, given = backbone_of(make(PARALLEL[name])), batch()
    assert {site.part for site in sites(model.description)} == {"residual", "embedding", "logits"}
    found = read(model, given, "-1", "logits")
    torch.testing.assert_close(found["logits"], model_of(model)(pixels(given.images)), **EXACT)
    with pytest.raises(BackboneError, match=f"has no site 1.heads: {name} has no attention and MLP"):
        read(model, given, "1.heads")


def test_blocks_with_something_else_in_them_are_not_guessed_at() -> None:
    net = make(NETS["token"])
    net.blocks[1].adapter = nn.Linear(WIDTH, WIDTH)
    tower = tower_of(net, IMAGE)
    assert "differs between the blocks" in str(tower.describe(IMAGE).part("mlp"))
    for block in net.blocks:
        block.adapter = nn.Linear(WIDTH, WIDTH)
    assert "Block has no attention and MLP" in str(tower_of(net, IMAGE).describe(IMAGE).part("mlp"))


def hooks(net: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules())


def test_sites_that_are_not_asked_for_cost_nothing() -> None:
    """No hook, and no block after the last that is needed."""
    model, given = backbone("token"), batch()
    net = model_of(model)
    assert hooks(net) == 0
    seen: dict[str, int] = {}
    handles = [
        block.register_forward_pre_hook(lambda _module, _inputs, i=i: seen.update({str(i): hooks(net)}))
        for i, block in enumerate(net.blocks)
    ]
    try:
        read(model, given, "1.attention", "0")
        assert seen == {"0": DEPTH + 2, "1": DEPTH + 2}
        seen.clear()
        read(model, given, "embed")
        assert list(seen) == ["0"]
        seen.clear()
        read(model, given, "final")
        assert seen == {str(i): DEPTH for i in range(DEPTH)}
    finally:
        for handle in handles:
            handle.remove()
    assert hooks(net) == 0


def test_hooks_are_gone_after_a_failure() -> None:
    model = backbone("token")
    with pytest.raises(BackboneError, match="no classifier, or was loaded without it"):
        read(backbone_of(make(NETS["token"]._replace(settings={"num_classes": 0}))), batch(), "logits")

    def fail(_module: nn.Module, _inputs: Any) -> None:
        raise RuntimeError("out of memory")

    handle = model_of(model).blocks[1].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        read(model, batch(), "0.attention", "1.heads")
    handle.remove()
    assert hooks(model_of(model)) == 0


def test_a_module_that_is_never_called_is_noticed() -> None:
    net = make(NETS["token"])
    model = backbone_of(net)
    net.blocks[1].drop_path1 = nn.Identity()
    with pytest.raises(BackboneError, match=r"never came to 1.attention"):
        read(model, batch(), "1.attention")


def test_in_compiled_blocks_only_what_leaves_them_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    model = backbone_of(make(NETS["token"]), compile_blocks=True)
    torch.testing.assert_close(read(model, batch(), "1")["1"], read(backbone("token"), batch(), "1")["1"])
    with pytest.raises(BackboneError, match="compile: false"):
        read(model, batch(), "1.attention")


def test_a_classifier_leaves_the_trunk_as_it_is() -> None:
    with_head, without = (
        backbone_of(make(NETS["token"]._replace(settings={"num_classes": classes}))) for classes in (N_CLASSES, 0)
    )
    model_of(without).load_state_dict(model_of(with_head).state_dict(), strict=False)
    assert with_head.head is not None
    assert without.head is None
    assert with_head.weights_digest == without.weights_digest
    assert with_head.head.weights_digest != with_head.weights_digest
