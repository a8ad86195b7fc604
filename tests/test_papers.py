"""Short forms of the reproductions: the papers' numbers are reached, and a second run resumes."""

import json

import numpy as np
import pytest

from kanref.papers import EXPERIMENTS, staircase, threshold


def test_staircase_is_at_or_below_the_authors_figures(tmp_path, monkeypatch):
    table = staircase.run(tmp_path, short=True)
    record = json.loads((tmp_path / "staircase-short.json").read_text())
    test_errors = np.array(record["cells"]["0"])[:, 1]
    assert (test_errors <= staircase.PAPER[:3]).all()
    assert (tmp_path / "staircase-short.png").stat().st_size > 10_000
    monkeypatch.setattr(staircase, "staircase", lambda *args, **options: pytest.fail("the seed was there already"))
    assert staircase.run(tmp_path, short=True) == table


def test_beyond_the_threshold_training_errors_fall_and_test_errors_rise(tmp_path):
    """Fig. 2.3: [2, 5, 1] with 15 G parameters on 1000 points; a finer grid than 1000/15 = 67 only learns by heart."""
    table = threshold.run(tmp_path, short=True)
    record = json.loads((tmp_path / "threshold-short.json").read_text())
    train, test = np.array(record["cells"]["2,5,1 0"]).T
    assert record["settings"]["intervals"] == [3, 10, 50, 200]
    assert (np.diff(train) < 0).all()
    assert test[3] > 3 * test[:3].min() and test[3] > 5 * train[3]
    assert threshold.parameters((2, 5, 1), 1) == 15 and threshold.parameters((2, 1, 1), 1) == 3
    assert "as many parameters as samples at 67" in table
    assert (tmp_path / "threshold-short.png").stat().st_size > 10_000


def test_every_experiment_has_a_module():
    from importlib import import_module

    for name in EXPERIMENTS:
        assert callable(import_module(f"kanref.papers.{name}").run)
