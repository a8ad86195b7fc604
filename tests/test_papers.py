"""Short forms of the reproductions: the papers' numbers are reached, and a second run resumes."""

import json

import numpy as np
import pytest

from kanref.papers import EXPERIMENTS, staircase


def test_staircase_is_at_or_below_the_authors_figures(tmp_path, monkeypatch):
    table = staircase.run(tmp_path, short=True)
    record = json.loads((tmp_path / "staircase-short.json").read_text())
    test_errors = np.array(record["errors"]["0"])[:, 1]
    assert (test_errors <= staircase.PAPER[:3]).all()
    assert (tmp_path / "staircase.png").stat().st_size > 10_000
    monkeypatch.setattr(staircase, "staircase", lambda *args, **options: pytest.fail("the seed was there already"))
    assert staircase.run(tmp_path, short=True) == table


def test_every_experiment_has_a_module():
    from importlib import import_module

    for name in EXPERIMENTS:
        assert callable(import_module(f"kanref.papers.{name}").run)
