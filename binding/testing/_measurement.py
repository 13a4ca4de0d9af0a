"""What every estimate must say of codes whose information is known, whichever probe it is made with."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import pytest

from binding.fit import FitConfig
from binding.information import Estimate
from binding.measurement import Measurement, measure_samples
from binding.probes import FAMILIES
from binding.samples import MeasureConfig
from binding.search import ProbeSpace, SearchConfig
from binding.testing._known_codes import KnownCode, Truth, known_code, known_codes
from frozen.intervals import IntervalConfig

NAMES = tuple(code.name for code in known_codes())
EXCEEDS = {"features_probe_excess", "direct_probe_excess", "excess_unexplained"}
_MUST_READ = 0.85
_MUST_NOT_READ = 0.05
_ROUNDING_BITS = 1e-3
_NEGLIGIBLE_BITS = 0.01  # the direct estimate, with which B* is compared, has a sampling error of its own


class MeasurementConformance:
    """Tests that the tests of a probe family inherit; a subclass says which probe, and what it can read.

    Estimates are held against their 99.9% interval, so that chance alone almost never fails a test.

    ```
    class TestMyProbe(MeasurementConformance):
        reads = ("objects", "erased", "linear", "gaussian")
        misses = ("bilinear",)

        @pytest.fixture
        def probe(self) -> ProbeSpace:
            return ProbeSpace.of("my_probe")
    ```
    """

    reads: ClassVar[tuple[str, ...]] = ("objects", "erased", "linear", "gaussian")
    """Codes of whose binding the direct estimate must find at least 85%."""
    misses: ClassVar[tuple[str, ...]] = ()
    """Codes whose binding this probe has no means to read."""
    config: ClassVar[MeasureConfig] = MeasureConfig(
        fit=FitConfig(epochs=12, patience=4, batch_size=128),
        search=SearchConfig(suggestions=2, ask=2),
        intervals=IntervalConfig(level=0.999, resamples=2000),
    )

    @pytest.fixture(params=NAMES)
    def code(self, request: pytest.FixtureRequest) -> KnownCode:
        return known_code(request.param)

    @pytest.fixture
    def measurement(self, code: KnownCode, probe: ProbeSpace) -> Measurement:
        return _measured(code, probe, self.config)

    def test_no_estimate_exceeds_the_truth(self, measurement: Measurement, code: KnownCode) -> None:
        refuse_excess(measurement, code.truth)

    def test_the_difference_form_is_flagged_where_it_exceeds_the_truth(
        self, measurement: Measurement, code: KnownCode
    ) -> None:
        found = _estimate(measurement, "binding_information_bits")
        if found.low > code.truth.binding + _NEGLIGIBLE_BITS:
            assert EXCEEDS & set(measurement.flags), f"{code.name}: {found} exceeds {code.truth.binding:.3f}"

    def test_the_flag_fires_only_where_the_difference_form_exceeds_the_bound(self, measurement: Measurement) -> None:
        if EXCEEDS & set(measurement.flags):
            direct = _estimate(measurement, "direct_binding_information_bits")
            assert _estimate(measurement, "binding_information_bits").value > direct.value

    def test_what_can_be_read_is_read(self, measurement: Measurement, code: KnownCode) -> None:
        direct = direct_bits(measurement)
        if code.name in self.reads:
            assert direct >= _MUST_READ * code.truth.binding
        if code.name in self.misses:
            assert direct <= _MUST_NOT_READ * code.truth.binding


@cache
def _measured(code: KnownCode, probe: ProbeSpace, config: MeasureConfig) -> Measurement:
    as_tokens = FAMILIES[probe.family].reads_tokens
    return measure_samples(code.samples(as_tokens=as_tokens), probe, config)


def refuse_excess(measurement: Measurement, truth: Truth) -> None:
    """Assert that no estimate but B* exceeds the truth beyond its interval."""
    truths = {
        "object_information_bits": truth.objects,
        "feature_information_bits": truth.features,
        "direct_binding_information_bits": truth.binding,
        "v_information_bits": truth.binding,
    }
    for column, most in truths.items():
        found = _estimate(measurement, column)
        assert found.low <= most + _ROUNDING_BITS, f"{column}: {found} exceeds {most:.3f}"


def direct_bits(measurement: Measurement) -> float:
    """B*_direct."""
    return _estimate(measurement, "direct_binding_information_bits").value


def _estimate(measurement: Measurement, column: str) -> Estimate:
    found = measurement.estimates[column]
    assert found is not None
    return found
