"""What every probe family must satisfy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from binding.examples import Examples
from binding.fit import FitConfig, Fitted, fit
from binding.measurement import Measurement, default_feature_probe, measure_samples
from binding.probe_file import ProbeFile
from binding.probes import HeadShape, Parameters, Probe, Target
from binding.samples import MeasureConfig
from binding.search import ProbeSpace, SearchConfig
from binding.testing._known_codes import known_code
from binding.testing._measurement import direct_bits, refuse_excess
from frozen.data.scenes.codes import FeatureSpace
from frozen.intervals import IntervalConfig
from frozen.models import BackboneConfig
from frozen.rows import Rows

TARGETS: tuple[Target, ...] = ("objects", "features", "direct", "given")
_CPU = torch.device("cpu")
_WIDTH, _TOKENS, _BATCH = 4, 5, 3


class ProbeConformance:
    """Tests that the tests of a probe family inherit; a subclass gives probes of it.

    The family must be in `binding.probes.FAMILIES`, by whose name a probe file finds it again.

    ```
    class TestMyProbe(ProbeConformance):
        probes = (MyProbe(rank=2, learning_rate=0.05), MyProbe(rank=3), MyProbe(use_conditioned_query=False))
    ```
    """

    probes: ClassVar[Sequence[Probe]]
    """Probes that differ in all that a study may set; the first one reads `reads` at its learning rate."""
    group_sizes: ClassVar[tuple[int, ...]] = (2, 3)
    """Feature groups of the objects that it is tried on."""
    reads: ClassVar[tuple[str, ...]] = ("objects",)
    """Known codes of whose binding the direct estimate must find at least 85%."""
    known: ClassVar[MeasureConfig] = MeasureConfig(
        fit=FitConfig(epochs=6, batch_size=64, schedule_step=3),
        search=SearchConfig(suggestions=1),
        intervals=IntervalConfig(level=0.999, resamples=500),
        n_seeds=1,
    )
    """How the known codes are measured."""

    @pytest.fixture(params=TARGETS)
    def target(self, request: pytest.FixtureRequest) -> Target:
        if request.param == "features" and self.probes[0].objects_only:
            pytest.skip("a family that reads objects only")
        return request.param

    @pytest.fixture
    def shape(self, target: Target) -> HeadShape:
        return _shape(target, self.group_sizes)

    def test_every_head_has_one_finite_logit(self, target: Target, shape: HeadShape) -> None:
        for probe in _for(target, self.probes):
            z, codes = _inputs(probe, shape)
            for pack in (1, 3):
                members = [probe.initial(shape, torch.Generator().manual_seed(seed)) for seed in range(pack)]
                logits = probe.logits(_packed(members), shape, z.float(), codes.float())
                assert logits.shape == (pack, _BATCH, shape.n_heads)
                assert logits.dtype == torch.float32
                assert torch.isfinite(logits).all()

    def test_refusals_are_the_familys_own(self) -> None:
        for probe in self.probes:
            n_groups = len(self.group_sizes)
            reads, other = ("all", "cls") if probe.reads_tokens else ("cls", "all")
            assert probe.refuses(reads, "objects", n_groups) is None
            assert probe.refuses(other, "objects", n_groups)
            assert bool(probe.refuses(reads, "features", n_groups)) == probe.objects_only

    def test_no_head_sees_its_own_code_or_a_later_one(self, target: Target, shape: HeadShape) -> None:
        for probe in _for(target, self.probes):
            z, codes = _inputs(probe, shape, batch=1)
            codes.requires_grad_()
            logits = probe.logits(_packed([_large(probe, shape)]), shape, z, codes)
            for k in range(shape.n_heads):
                (seen,) = torch.autograd.grad(logits[0, 0, k], codes, retain_graph=True, allow_unused=True)
                seen = torch.zeros_like(codes) if seen is None else seen
                assert (seen[0, k : shape.n_heads] == 0).all(), f"head {k} of {probe}"
                assert (seen[0, shape.n_heads :] != 0).all(), f"head {k} of {probe} misses given features"
                if probe.use_conditioned_query:
                    assert (seen[0, :k] != 0).all(), f"head {k} of {probe} misses earlier codes"

    def test_initial_parameters_follow_the_seed_alone(self, target: Target, shape: HeadShape) -> None:
        for probe in _for(target, self.probes):
            torch.manual_seed(1)
            state = torch.get_rng_state()
            first, again, other = (probe.initial(shape, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
            assert torch.equal(state, torch.get_rng_state())
            assert all(torch.equal(first[name], again[name]) for name in first)
            assert any(not torch.equal(first[name], other[name]) for name in first)

    def test_a_member_of_a_pack_trains_as_if_alone_and_repeats(
        self, monkeypatch: pytest.MonkeyPatch, target: Target, shape: HeadShape
    ) -> None:
        probes = list(_for(target, self.probes))
        rates = [replace(probe, learning_rate=probe.learning_rate / 2, weight_decay=1e-3) for probe in probes]
        for probe in probes:
            monkeypatch.setattr(type(probe), "is_apart", False)  # which holds on a CPU only
        together = _trained([*probes, *rates], shape)
        for probe, member in zip([*probes, *rates], together, strict=True):
            [alone], [again] = _trained([probe], shape), _trained([probe], shape)
            assert alone.curve == again.curve
            np.testing.assert_allclose(np.array(member.curve), np.array(alone.curve), rtol=1e-4)
            for name, value in _kept(alone).items():
                assert torch.equal(value, _kept(again)[name])
                torch.testing.assert_close(_kept(member)[name], value, rtol=1e-4, atol=1e-4)

    def test_padding_changes_nothing(self, target: Target, shape: HeadShape) -> None:
        """Further samples of a batch, and further members of a pack, even broken ones."""
        for probe in _for(target, self.probes):
            z, codes = _inputs(probe, shape)
            parameters = _large(probe, shape)
            plain = probe.logits(_packed([parameters]), shape, z, codes)
            broken = {name: torch.full_like(value, math.nan) for name, value in parameters.items()}
            wide_z, wide_codes = torch.cat([z, torch.full_like(z, math.nan)]), torch.cat([codes, -codes])
            padded = probe.logits(_packed([parameters, broken]), shape, wide_z, wide_codes)
            torch.testing.assert_close(padded[:1, :_BATCH], plain)

    def test_losses_are_those_of_double_precision(self, target: Target, shape: HeadShape) -> None:
        for probe in _for(target, self.probes):
            data = _examples(probe, shape, 40, seed=3)
            parameters = {name: value.detach().float() for name, value in _large(probe, shape).items()}
            found = Fitted(probe, shape, parameters).evaluate(data)[0]
            z, codes, _ = data.batch(torch.arange(40))
            prior = 0.0 if data.offset is None else data.offset.double().numpy()
            exact = _packed([{name: value.double() for name, value in parameters.items()}])
            singly = [
                probe.logits(exact, shape, z[i : i + 1].double(), codes[i : i + 1].double())[0, 0] for i in range(40)
            ]
            logits = torch.stack(singly).numpy() + prior
            signs = np.sign(codes[:, : shape.n_heads].double().numpy())
            np.testing.assert_allclose(found, np.logaddexp(0, -signs * logits) / math.log(2), rtol=1e-3, atol=1e-4)

    def test_gradients_are_those_of_finite_differences(self, target: Target, shape: HeadShape) -> None:
        for probe in _for(target, self.probes):
            z, codes = _inputs(probe, shape)
            leaves = {name: value[None].requires_grad_() for name, value in _large(probe, shape).items()}
            logits = partial(_logits, probe, shape, z, codes, list(leaves))
            assert torch.autograd.gradcheck(logits, tuple(leaves.values()), fast_mode=True)

    def test_parameters_are_as_many_as_the_probe_says(self, target: Target, shape: HeadShape) -> None:
        for probe, has_cls in product(_for(target, self.probes), (True, False)):
            seen = replace(shape, has_cls=has_cls)
            drawn = probe.initial(seen, torch.Generator().manual_seed(0))
            assert sum(value.numel() for value in drawn.values()) == probe.n_parameters(seen), f"{probe}, {target}"

    def test_a_probe_file_gives_the_same_probe_back(self, target: Target, shape: HeadShape, tmp_path: Path) -> None:
        fitted = _trained(list(_for(target, self.probes)), shape)
        space = FeatureSpace.of(**{f"group{i}": size for i, size in enumerate(self.group_sizes)})
        nowhere = BackboneConfig(source="random:any")
        mode = "all" if self.probes[0].reads_tokens else "cls"
        file = ProbeFile(space, nowhere, "final", mode, "float32", None, {target: fitted}, {"cell_id": "one"})
        content = file.to_bytes(10**8)
        assert content is not None
        (tmp_path / "cell.safetensors").write_bytes(content)
        again = ProbeFile.read(tmp_path / "cell.safetensors")
        assert (again.space, again.backbone, again.about) == (space, nowhere, {"cell_id": "one"})
        for before, after in zip(fitted, again.targets[target], strict=True):
            assert (after.probe, after.shape) == (before.probe, before.shape)
            assert (after.best_epoch, after.validation_bits) == (before.best_epoch, before.validation_bits)
            data = _examples(before.probe, shape, 30, seed=4)
            assert all(np.array_equal(a, b) for a, b in zip(after.evaluate(data), before.evaluate(data), strict=True))

    @pytest.mark.parametrize("name", ["objects", "features", "noise"])
    def test_known_answers_are_read_and_not_exceeded(self, name: str) -> None:
        code = known_code(name)
        found = _measured(name, self.probes[0], self.known)
        refuse_excess(found, code.truth)
        if name in self.reads:
            assert direct_bits(found) >= 0.85 * code.truth.binding


def _logits(
    probe: Probe, shape: HeadShape, z: Tensor, codes: Tensor, names: Sequence[str], *values: Tensor
) -> Tensor:
    return probe.logits(dict(zip(names, values, strict=True)), shape, z, codes)


@cache
def _measured(name: str, probe: Probe, config: MeasureConfig) -> Measurement:
    space = ProbeSpace(probe.family, tuple(sorted((item.name, getattr(probe, item.name)) for item in fields(probe))))
    samples = known_code(name).samples(train=640, validation=600, test=400, as_tokens=probe.reads_tokens)
    return measure_samples(samples, space, config, feature_probe=default_feature_probe(space))


def _shape(target: Target, group_sizes: tuple[int, ...]) -> HeadShape:
    n_objects, n_features = math.prod(group_sizes), sum(group_sizes)
    if target == "features":
        return HeadShape(_WIDTH, n_features)
    given = 0 if target == "objects" else n_features
    return HeadShape(0 if target == "given" else _WIDTH, n_objects, given, group_sizes)


def _for(target: Target, probes: Sequence[Probe]) -> Sequence[Probe]:
    """The probes of a target; what remains of them where there are no activations."""
    return [probe.without_activations() for probe in probes] if target == "given" else probes


def _inputs(probe: Probe, shape: HeadShape, batch: int = _BATCH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(batch, *_tokens(probe), shape.z_dim, generator=generator, dtype=torch.float64)
    return z, torch.randint(2, (batch, shape.n_codes), generator=generator).double() - 0.5


def _tokens(probe: Probe) -> tuple[int, ...]:
    return (_TOKENS,) if probe.reads_tokens else ()


def _large(probe: Probe, shape: HeadShape, seed: int = 0) -> Parameters:
    """Initial parameters, made large enough that every term of a formula shows."""
    noise = torch.Generator().manual_seed(seed + 100)
    return {
        name: value.double() + torch.randn(value.shape, generator=noise, dtype=torch.float64)
        for name, value in probe.initial(shape, torch.Generator().manual_seed(seed)).items()
    }


def _packed(members: Sequence[Parameters]) -> Parameters:
    return {name: torch.stack([member[name] for member in members]) for name in members[0]}


def _examples(probe: Probe, shape: HeadShape, n: int, *, seed: int) -> Examples:
    """Bits of which some agree with the signs of activations; a prior where features are given."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, *_tokens(probe), shape.z_dim)).astype(np.float32)
    bits = (rng.random((n, shape.n_codes)) < 0.5).astype(np.uint8)
    shown = min(z.reshape(n, -1).shape[1], shape.n_heads)
    bits[:, :shown] |= (z.reshape(n, -1)[:, :shown] > 0).astype(np.uint8) & bits[:, :1]
    odds = rng.standard_normal((n, shape.n_heads)) if shape.n_given else None
    return Examples.of(Rows(z, None, _CPU), bits, odds, _CPU)


def _trained(probes: Sequence[Probe], shape: HeadShape) -> list[Fitted]:
    train, validation = (_examples(probes[0], shape, n, seed=n) for n in (96, 64))
    return fit(probes, shape, train, validation, FitConfig(epochs=1, batch_size=32), seed=5)


def _kept(fitted: Fitted) -> Parameters:
    assert fitted.parameters is not None
    return fitted.parameters
