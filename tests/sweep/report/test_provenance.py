import pandas as pd

from sweep.report._provenance import Fact, chosen_hyperparameters, dataset_settings, provenance
from sweep.report._rows import prepared


def test_facts_that_agree_are_said_once_and_others_counted(cell, measures):
    rows = [cell(), cell(layer="1"), cell(layer="2", device="cuda", versions='{"torch": "2.10", "ray": "2.60"}')]
    assert provenance(prepared(pd.DataFrame(rows), measures)) == (
        Fact("git commit", ("abc1234",)),
        Fact("device", ("cpu (2 cells)", "cuda (1 cell)")),
        Fact("host", ("node",)),
        Fact("time in cells", ("1.5 min",)),
        Fact("ray", ("2.60",)),
        Fact("torch", ("2.9.1 (2 cells)", "2.10 (1 cell)")),
    )


def test_what_is_not_known_is_left_out(measures):
    assert provenance(prepared(pd.DataFrame([{"backbone": "b"}]), measures)) == ()


def test_versions_that_are_no_object_are_kept_as_text(cell, measures):
    facts = provenance(prepared(pd.DataFrame([cell(versions="torch 2.9")]), measures))
    assert Fact("versions", ("torch 2.9",)) in facts


def test_settings_of_data_sets(cell, measures):
    (fact,) = dataset_settings(prepared(pd.DataFrame([cell(), cell(layer="1")]), measures))
    assert fact == Fact("squares", ('{\n  "n": 4\n}',))


def test_hyperparameters_by_target(cell, measures):
    rows = [
        cell(hyperparameters_objects='{"rank": 4}'),
        cell(layer="1", hyperparameters_direct='{"rank": 8}'),
        cell(layer="2"),
    ]
    choices = chosen_hyperparameters(prepared(pd.DataFrame(rows), measures))
    assert choices.targets == ("direct", "objects")
    assert [line.texts for line in choices.lines] == [("", "rank 4"), ("rank 8", "")]


def test_samples_that_were_left_out_are_said(cell, measures):
    rows = [cell(n_skipped=3), cell(layer="1", n_skipped=3), cell(dataset="discs", n_skipped=0)]
    assert provenance(prepared(pd.DataFrame(rows), measures))[0] == Fact("samples left out", ("squares: 3",))
