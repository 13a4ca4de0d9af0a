from sweep.report._summary import summary


def test_what_was_measured(study, read):
    assert summary(read(study)) == (
        "24 cells of 2 backbones (large, small) and 4 cells of 2 controls (noise, oracle), "
        "on 1 data set (squares), tested on 2,000 samples. "
        "Each cell was measured with 2 seeds. Intervals are at 95 %. 1 cell failed."
    )


def test_ranges_and_long_lists(cell, read):
    rows = [cell(backbone=f"b{n}", n_test=1000 * (n + 1), n_seeds=n + 1) for n in range(5)]
    text = summary(read(rows))
    assert "5 backbones, on" in text
    assert "1,000 to 5,000 samples" in text
    assert "1 seed to 5 seeds" in text
    assert "No cell failed." in text


def test_nothing_and_nothing_but_failures(cell, read):
    assert summary(()) == "No cell has been measured yet."
    text = summary(read([cell(status="failed", n_test=None, n_seeds=None)]))
    assert "All cells failed" in text
