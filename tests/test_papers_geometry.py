"""Spectra, kernels, cost and digits: the parts are what they say, the short form runs and resumes, the record holds."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref.bases import BSpline
from kanref.papers import geometry


def test_the_dense_recursion_is_that_of_the_splines():
    for degree in (0, 1, 2, 3, 4):
        basis = BSpline.uniform(3, 6, degree)
        x = np.random.default_rng(0).uniform(-1, 1, (40, 3))
        assert_allclose(geometry.recursion(x, basis.knots, degree), basis.dense(x), atol=1e-13)


def test_short_form(tmp_path, monkeypatch):
    told = geometry.run(tmp_path, short=True)
    assert "1.102e+06  1.102e+06" in told and "0..9" in told and "> 1e6" in told
    for name in ("geometry-short.png", "geometry-short-kernels.png", "geometry-short-cost.png"):
        assert (tmp_path / name).stat().st_size > 20_000
    done = json.loads((tmp_path / "geometry-short.json").read_text())["cells"]
    assert list(done) == geometry.keys(geometry.SHORT)
    assert len(done["cost 3 4"]) == len(geometry.WAYS)
    monkeypatch.setattr(geometry, "compute", lambda *args, **options: pytest.fail("the cell was there already"))
    assert geometry.run(tmp_path, short=True) == told


@pytest.fixture(scope="module")
def record():
    record = json.loads((Path(__file__).parent / "data" / "geometry.json").read_text())
    assert record["settings"] == json.loads(json.dumps(geometry.PLAN))
    return record["cells"]


def test_recorded_spectra(record):
    """The ratios to four digits, the paper's remarks, growth n^2r, sign changes, norms below 2, 4, 4, 8/3."""
    for order, derived in geometry.DERIVED.items():
        cell = record[f"spectra {order}"]
        assert_allclose(cell["ratios"], derived, rtol=5e-4)
        assert_allclose(np.log2(cell["ratios"][-1] / cell["ratios"][-2]), 2 * int(order), rtol=0.04)
        assert cell["changes"] == [list(range(10))] * 2
        assert_allclose(cell["norm"], {"1": 2, "2": 4, "3": 4, "4": 8 / 3}[order], rtol=2e-3)
        assert (cell["symmetric"] < 0) == (order != "1")
        if order in geometry.PAPER:
            assert cell["ratios"][0] > float(geometry.PAPER[order][2:])


def test_recorded_kernels(record):
    """Modes that descent moves: as many as the grid offers in splines, a handful in power ReLUs; and the bound."""
    cells = [record[f"kernels {n}"] for n in geometry.PLAN["kernels"]]
    S, R = np.transpose([cell["modes"] for cell in cells])
    assert (S[1:] > 1.5 * S[:-1]).all() and R.max() <= 8
    for cell in cells:
        assert cell["ratio"] < 1e-5 < 4 < cell["bound"] < 64 / 9
        assert_allclose(cell["S"][0] / cell["R"][0], cell["ratio"], rtol=2e-3)


def test_recorded_rows_of_the_papers_table(record):
    """All seeds: splines train; power ReLUs a hundred times worse; with the gradient of the other basis, nothing does."""
    seeds = geometry.PLAN["rows"]["seeds"]
    runs = {pair: [record[f"rows {' '.join(pair)} {seed}"] for seed in seeds] for pair in geometry.ROWS}
    values = {pair: np.array([run["values"] for run in runs[pair]]) for pair in runs}
    start = values["spline", "spline"][:, :1]
    for pair in runs:
        assert_allclose(values[pair][:, :1], start, rtol=1e-3)  # the same functions
    splines, relus = values["spline", "spline"][:, 1:], values["relu", "relu"][:, 1:]
    assert splines[:, 0].max() < 1e-3 and splines[:, 1].max() < 1e-2
    assert (relus[:, 0] > 100 * splines[:, 0]).all() and (relus[:, 0] < 0.1 * start[:, 0]).all()
    assert all(run["reason"] == "LINE_SEARCH" for run in runs["relu", "spline"])
    assert (values["relu", "spline"][:, 2:] > 1e6).all()
    assert (values["spline", "relu"][:, 1:] > 0.1 * start).all()


def test_recorded_digits(record):
    """As they stand, sums of cubic power ReLUs lose about n^4 roundings; converted exactly to splines, none."""
    errors = np.array([record[f"digits {n}"] for n in geometry.PLAN["digits"]])
    assert errors[:, 2].max() < 1e-15
    assert (np.diff(errors[:, 0]) > 0).all() and errors[-1, 0] > 1e3 * errors[0, 0]
    assert (errors[:, 1] < errors[:, 0]).all()


def test_a_cell_computed_again_is_the_recorded_one(record):
    for key in ("spectra 3", "digits 20"):
        found = geometry.compute(key, geometry.PLAN)
        for a, b in zip(np.atleast_1d(found), np.atleast_1d(record[key])):
            if isinstance(a, dict):
                assert_allclose(a["ratios"], b["ratios"], rtol=1e-12)
            else:
                assert 1 / 30 < a / b < 30
