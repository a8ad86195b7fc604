"""Scaling laws in their short form: exponents, resuming, tables."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import optimize
from kanref.data.toys import SHAPES
from kanref.papers import scaling

RECORD = Path(__file__).parent / "data" / "scaling.json"


def test_exponents_are_slopes_and_leave_out_rounding():
    N = np.array([10, 20, 50, 100])
    assert_allclose(scaling.exponent(N, 3 * N**-4.0), 4)
    assert_allclose(scaling.exponent(N, [1e-3, 1e-3 / 16, 1e-16, 1e-15]), 4)
    assert np.isnan(scaling.exponent(N, np.full(4, 1e-15)))
    noisy = 7 * N**-3.0 * np.exp([0.1, -0.1, -0.1, 0.1])
    centred = np.log(N) - np.log(N).mean()
    assert_allclose(scaling.exponent(N, noisy), -(centred * np.log(noisy)).sum() / (centred**2).sum())


def test_short_form(tmp_path, monkeypatch):
    table = scaling.run(tmp_path, short=True)
    done = json.loads((tmp_path / "scaling-short.json").read_text())["cells"]
    N, train, test = np.array(done["kan staircase 2,1,1 0"]).T
    assert N.tolist() == [18, 24, 39]  # three edges of G + 3
    assert scaling.exponent(N, test) >= 3.5
    assert (test < 1.5 * train).all()
    assert {key.split()[2] for key in done if key.startswith("mlp")} == {"3", "4"}
    assert done["mlp staircase 4 0"][0][0] == 37
    rows = {tuple(line.split()[:1]): line.split() for line in table.split("\n\n")[0].splitlines()[2:]}
    assert float(rows["staircase",][-5]) == round(scaling.exponent(N, test), 2)
    assert (tmp_path / "scaling-short.png").stat().st_size > 10_000
    monkeypatch.setattr(scaling, "train_kan", lambda *args: pytest.fail("the cell was there already"))
    assert scaling.run(tmp_path, short=True) == table


def test_the_plan_has_the_shapes_of_the_paper():
    for name, rows in scaling.PLAN.items():
        assert {shape for shape, _ in rows} == set(SHAPES[name])


def test_training_points_include_the_corners_of_small_boxes():
    X, y, X_test, y_test = scaling.data("product", 0)
    assert (np.abs(X[-4:]) == 1).all() and len(np.unique(X[-4:], axis=0)) == 4
    assert_allclose(y, X.prod(1))
    assert len(scaling.data("hundred", 0)[0]) == scaling.SAMPLES_OF_HUNDRED
    assert not (X_test[:, None] == X[None, :100]).any()


def test_a_run_settles_when_five_steps_gain_little():
    settled, state = scaling.Settled(patience=2, part=0.1), type("State", (), {"value": 1.0})
    answers = []
    for state.value in (1.0, 0.5, 0.4, 0.39, 0.38):
        answers.append(settled(state))
    assert answers == [False, False, False, False, True]  # 0.38 > 0.9 * 0.4


def test_half_a_cell_is_no_result(monkeypatch):
    stopped = optimize.lbfgs(lambda t: (float(t @ t), 2 * t), np.ones(2), steps=0)
    stopped = type(stopped)(**{**vars(stopped), "reason": optimize.Stop.INTERRUPTED})
    with pytest.raises(KeyboardInterrupt):
        scaling.reached(None, stopped)


def test_the_record_shows_the_law_of_cubic_splines():
    """Median exponents of at least 3.5 over 3..50 intervals on the targets that three thousand points determine."""
    record = json.loads(RECORD.read_text())
    assert record["settings"]["plan"] == json.loads(json.dumps(scaling.PLAN))
    for name in ("bessel", "staircase", "product", "four"):
        shape, grids = scaling.PLAN[name][0]
        used = np.array(grids) <= scaling.FITTED
        assert np.array(grids)[used].tolist() == [3, 5, 10, 20, 50]
        seeds = [np.array(record["cells"][scaling.kan_key(name, shape, seed)])[used] for seed in scaling.SEEDS]
        assert np.median([scaling.exponent(N, test) for N, _, test in (seed.T for seed in seeds)]) >= 3.5, name
        widths = record["settings"]["widths"][name]
        for seed, ours in zip(scaling.SEEDS, seeds):
            mlps = [record["cells"][scaling.mlp_key(name, width, seed)][0] for width in widths]
            assert min(test for _, _, test in mlps) > 3 * ours[-1, 2], name
