import pytest

from sweep.report._lettering import measure_text, plain, thinned, wrapped


def test_dollars_do_not_start_formulas():
    assert plain("a$b$") == r"a\$b\$"
    assert wrapped("a$b$", 10) == r"a\$b\$"


@pytest.mark.parametrize(
    "name", ["timm:vit_small_patch14_reg4_dinov2.lvd142m", "x" * 50, "short", "two words here and there"]
)
def test_names_are_broken_but_complete(name):
    text = wrapped(name, 20)
    assert max(len(line) for line in text.split("\n")) <= 20
    assert text.replace("\n", "").replace(" ", "") == name.replace(" ", "")


def test_names_break_after_their_separators():
    assert wrapped("timm:vit_small_patch14", 15).split("\n") == ["timm:vit_small_", "patch14"]


def test_names_beyond_use_are_cut():
    assert wrapped("abc" * 40, 10, 2).split("\n") == ["abcabcabca", "bcabcabca…"]
    assert wrapped("final", 10, 1) == "final"


def test_subscripts_are_set_as_such(with_symbol):
    assert measure_text(with_symbol("β*_direct")) == r"β*$_{\mathrm{direct}}$ (ratio)"
    assert measure_text(with_symbol("V_a b")) == "V_a b (ratio)"


def test_all_labels_stay_where_there_is_room():
    assert thinned([0.0, 1.0, 2.0], [0.5, 0.5, 0.5]) == [0, 1, 2]


def test_labels_are_thinned_evenly_and_the_last_stays():
    kept = thinned([float(i) for i in range(10)], [1.8] * 10)
    assert kept == [0, 2, 4, 6, 9]


def test_one_label():
    assert thinned([3.0], [100.0]) == [0]
