"""Poisson's equation across levels: equal work, exact transfers, errors that mean what they say, and the record's claims."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref.papers import levels

RECORD = Path(__file__).parent / "data" / "levels.json"


def last(record, name):
    """The last levels (seeds, 8) of a row: intervals, parameters, loss at first, loss, MSE, H1, work, seconds."""
    return np.array([record["cells"][f"{name} / {seed}"]["levels"][-1] for seed in levels.SEEDS])


def test_fine_steps_cost_what_nested_steps_cost():
    nested, fine = (levels.PLAN["rows"][name] for name in ("nested", "fine"))
    cost = lambda setup: [
        levels.work(levels.network(setup, n), levels.PLAN, steps) for n, steps in levels.schedule(setup, levels.PLAN)
    ]
    (one,) = cost(fine)
    assert one == pytest.approx(sum(cost(nested)), rel=0.03)
    assert levels.work(levels.network(nested, 4), levels.PLAN, 2) == pytest.approx(2 * 1000 * 180**2 / 1e9)


def test_refinement_keeps_the_function_and_a_fit_to_samples_nearly():
    setup = levels.SHORT["rows"]["nested"]
    net = levels.network(setup, 4)
    theta = net.init(0)
    x = levels.points(net.size, levels.SHORT, 0)["equation"]
    change = {}
    for kind, n in (("nested", 8), ("extension", 7)):
        before = levels.grids.update_from_samples(net, theta, x)[:2]
        fine, moved = levels.finer(net, theta, n, x, kind)
        change[kind] = np.abs(fine(moved, x) - before[0](before[1], x)).max()
        assert fine.layers[0].terms["spline"].basis.intervals == n
    assert change["nested"] < 1e-13 < change["extension"] < 0.1


def test_errors_of_a_known_function():
    """The trial function 0: the means of u^2 and of |grad u|^2, by the formulas 1/2 (1 - J), with Fresnel integrals J."""
    net = levels.network({"width": 2, "degree": 3}, 4)
    x = np.random.default_rng(0).uniform(-1, 1, (4000, 2))
    L2, H1 = levels.errors(levels.PROBLEM.function(net, True), np.zeros(net.size), x)
    u, gradient = levels.solution(x)
    assert_allclose([L2, H1], [np.mean(u**2), np.mean(u**2) + np.mean((gradient**2).sum(1))], rtol=1e-12)
    assert L2 == pytest.approx(0.5 * 0.5 * (1 - 0.244), rel=0.1)  # int_0^1 cos(2 pi y^2) dy = 0.2441


def test_short_form(tmp_path, monkeypatch):
    table = levels.run(tmp_path, short=True)
    done = json.loads((tmp_path / "levels-short.json").read_text())["cells"]
    for name in levels.SHORT["rows"]:
        trace = np.array(done[f"{name} / 0"]["trace"])
        assert trace[-1, 2] < 0.01 and trace[-1, 1] < 1e-2 * trace[0, 1] and (np.diff(trace[:, 0]) >= 0).all()
    assert [level[:2] for level in done["nested / 0"]["levels"]] == [[4, 72], [8, 108]]  # 9 edges of n + 4
    assert "H1 squared" in table and "extension" in table
    assert (tmp_path / "levels-short.png").stat().st_size > 10_000
    monkeypatch.setattr(levels, "train", lambda *args, **options: pytest.fail("the cell was there already"))
    assert levels.run(tmp_path, short=True) == table


def test_the_record_is_below_one_in_a_million_million():
    """Mean squared errors at or below 1e-12 on every seed. Liu et al. have 1e-7, `papers.poisson` 1e-10."""
    record = json.loads(RECORD.read_text())
    assert record["settings"] == json.loads(json.dumps(levels.PLAN))
    nested = last(record, "nested")
    assert nested[:, 4].max() <= 1e-12
    assert nested[:, 7].max() < 60
    for seed in levels.SEEDS:
        errors = np.array(record["cells"][f"nested / {seed}"]["levels"])[:, 4]
        assert (np.diff(errors) < 0).all()
