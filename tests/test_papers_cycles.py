"""Cycles against nested iteration: the record is of these settings, work is equal, and what it teaches is in its numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

from kanref.papers import cycles

RECORD = json.loads((Path(__file__).parent / "data" / "cycles.json").read_text())
PROBLEMS, SMOOTHERS = list(cycles.PLAN["problems"]), list(cycles.PLAN["smoothers"])


def runs(name, smoother, method):
    return [RECORD["cells"][f"{name} / {smoother} / {method} / {seed}"] for seed in cycles.SEEDS]


def losses(name, smoother, method):
    return np.array([run["loss"] for run in runs(name, smoother, method)])


def test_the_record_is_of_these_settings():
    assert RECORD["settings"] == json.loads(json.dumps(cycles.PLAN))
    assert len(RECORD["cells"]) == len(PROBLEMS) * len(SMOOTHERS) * len(cycles.METHODS) * len(cycles.SEEDS)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("smoother", SMOOTHERS)
def test_work_is_equal(name, smoother):
    """Up to the rest of a cycle that was begun; a run that cannot go on may end before."""
    work = cycles.PLAN["problems"][name][1]
    for method in cycles.METHODS:
        for run in runs(name, smoother, method):
            assert run["work"] <= 1.35 * work
            assert run["work"] >= (0.97 if method in ("fine", "nested") else 0.5) * work
            assert run["accepted"] <= run["cycles"] and (run["cycles"] == 0 or method in ("V", "W", "adaptive"))
            assert run["evaluations"] <= run["work"]
            spent, loss = np.array(run["trace"]).T
            assert (np.diff(spent) >= 0).all() and (np.diff(loss) <= 0).all()


@pytest.mark.parametrize("name", PROBLEMS[1:])
def test_nested_iteration_wins_with_curvature(name):
    """L-BFGS on the three equations: nested iteration ends lower than all others, by medians; the finest grid alone is behind."""
    middle = {method: np.median(losses(name, "L-BFGS", method)) for method in cycles.METHODS}
    assert min(middle, key=middle.get) == "nested", middle
    assert middle["fine"] > 2 * middle["nested"]


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("smoother", SMOOTHERS)
def test_cycles_are_worth_their_smoother(name, smoother):
    """Corrections neither help nor harm by a factor of two, at equal work: tau is longer than what it makes room for."""
    alone = np.median(losses(name, smoother, "smoothing"))
    for method in ("V", "W", "adaptive"):
        assert 0.5 < np.median(losses(name, smoother, method)) / alone < 2
    asked = [run["tau"] for method in ("V", "W") for run in runs(name, smoother, method) if run["cycles"]]
    assert np.median(asked) > 1


def test_few_cycles_fit():
    """Medians: one to four V-cycles on the finest grid, two W-cycles or fewer; corrections bent by up to 220 times |P'g|."""
    counts = {
        shape: [np.median([run["cycles"] for run in runs(name, smoother, shape)]) for name in PROBLEMS for smoother in SMOOTHERS]
        for shape in "VW"
    }
    assert (min(counts["V"]), max(counts["V"]), max(counts["W"])) == (1, 4, 2)
    assert 210 < max(cell["tau"] for cell in RECORD["cells"].values()) < 230


def test_adam_on_burgers_gains_nothing_by_levels():
    middle = {method: np.median(losses("Burgers", "Adam", method)) for method in cycles.METHODS}
    assert min(middle, key=middle.get) == "fine" and max(middle, key=middle.get) == "nested"
    assert middle["nested"] < 1.34 * middle["fine"]


def test_the_table_shows_all():
    results = {
        (name, smoother): {method: runs(name, smoother, method) for method in cycles.METHODS}
        for name in PROBLEMS
        for smoother in SMOOTHERS
    }
    table = cycles.text(results)
    for name in PROBLEMS:
        for smoother in SMOOTHERS:
            assert f"{name}, {smoother}: " in table
    assert table.count("adaptive") == len(results) and "medians of 3 seeds" in table


def test_a_short_run_writes_and_resumes(tmp_path, monkeypatch):
    table = cycles.run(tmp_path, progress=False, short=True)
    record = json.loads((tmp_path / "cycles-short.json").read_text())
    assert (tmp_path / "cycles-short.png").stat().st_size > 10_000
    for key, cell in record["cells"].items():
        assert 0 < cell["loss"] < 100 and cell["parameters"] > 0, key
    monkeypatch.setattr(cycles, "train", lambda *_, **__: pytest.fail("computed again"))
    assert cycles.run(tmp_path, progress=False, short=True) == table
