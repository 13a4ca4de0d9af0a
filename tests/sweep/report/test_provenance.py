from sweep.report._provenance import Fact, chosen_settings, dataset_settings, provenance
from tests.sweep.report.conftest import CHOICES


def test_facts_that_agree_are_said_once_and_others_counted(cell, read):
    rows = [cell(), cell(layer="1"), cell(layer="2", device="cuda", versions='{"torch": "2.10", "ray": "2.60"}')]
    assert provenance(read(rows)) == (
        Fact("git commit", ("abc1234",)),
        Fact("device", ("cpu (2 cells)", "cuda (1 cell)")),
        Fact("host", ("node",)),
        Fact("time in cells", ("1.5 min",)),
        Fact("ray", ("2.60",)),
        Fact("torch", ("2.9.1 (2 cells)", "2.10 (1 cell)")),
    )


def test_what_is_not_known_is_left_out(read):
    assert provenance(read([{"backbone": "b"}])) == ()


def test_versions_that_are_no_object_are_kept_as_text(cell, read):
    facts = provenance(read([cell(versions="torch 2.9")]))
    assert Fact("versions", ("torch 2.9",)) in facts


def test_settings_of_data_sets(cell, read):
    (fact,) = dataset_settings(read([cell(), cell(layer="1")]))
    assert fact == Fact("squares", ('{\n  "n": 4\n}',))


def test_chosen_settings(cell, read):
    rows = [
        cell(hyperparameters_objects='{"rank": 4}'),
        cell(layer="1", hyperparameters_direct='{"rank": 8}'),
        cell(layer="2"),
    ]
    choices = chosen_settings(read(rows), CHOICES)
    assert choices.headings == ("direct", "objects")
    assert [line.texts for line in choices.lines] == [("", "rank 4"), ("rank 8", "")]


def test_samples_that_were_left_out_are_said(cell, read):
    rows = [cell(n_skipped=3), cell(layer="1", n_skipped=3), cell(dataset="discs", n_skipped=0)]
    assert provenance(read(rows))[0] == Fact("samples left out", ("squares: 3",))
