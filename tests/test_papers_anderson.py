"""Mobility edges: the record reaches the paper's accuracies, formulas read as they should, runs resume."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref.data.anderson import CHAINS
from kanref.papers import anderson

RECORD = json.loads((Path(__file__).parent / "data" / "anderson.json").read_text())


@pytest.mark.parametrize("name", ["GAAM", "MAAM"])
def test_the_record_reaches_the_paper(name):
    cells = [RECORD["cells"][f"{name}/{seed}"] for seed in anderson.SEEDS]
    for column, paper in zip(anderson.COLUMNS, anderson.PAPER[name]):
        if paper is not None:
            assert min(cell[column][1] for cell in cells) >= paper / 100, column


def test_the_record_is_of_these_settings_and_its_table_shows_it():
    assert RECORD["settings"] == json.loads(json.dumps(anderson.SETTINGS))
    table = anderson.text(RECORD["cells"], list(anderson.SHAPES), anderson.SEEDS)
    for name in anderson.SHAPES:
        assert f"{name:<7} 0 = " in table
    assert "98.7" in table and "98.4" in table


@pytest.mark.parametrize("name", anderson.SHAPES)
def test_hypotheses_contain_the_exact_edge(name):
    # with the right numbers the guided network is the exact edge, up to a factor
    import sympy

    chain = CHAINS[name]
    count = anderson.SHAPES[name][0]
    model = anderson.hypothesis(chain, count)
    expression = model.formula()[0]
    X = chain.sample(2, 20, seed=0, sites=144).X
    f = sympy.lambdify([sympy.Symbol(n) for n in chain.names[:count]], expression)
    assert_allclose(model.raw(X[:, :count])[:, 0], f(*X.T[:count]), rtol=1e-9, atol=1e-9)
    exact = {"mosaic": lambda e: e - 0.5, "GAAM": lambda e: e + (X[:, 1] - 1.5), "MAAM": lambda e: e}[name]
    assert_allclose(exact(f(*X.T[:count])), chain.edge(*X.T[:-1]), rtol=1e-9, atol=1e-9)


def test_readings_are_scaled_to_their_leading_summand():
    chain = CHAINS["GAAM"]
    model = anderson.hypothesis(chain, 4)
    assert anderson.reading(chain, model) == "E*alpha + lambda - 0.5"
    absolute = anderson.hypothesis(CHAINS["mosaic"], 2)
    assert anderson.reading(CHAINS["mosaic"], absolute) == "2.0*Abs(E*lambda) - 1"  # |E lambda| - 1/2, scaled to one


def test_a_short_run_writes_and_resumes(tmp_path, monkeypatch):
    table = anderson.run(tmp_path, progress=False, short=True)
    record = json.loads((tmp_path / "anderson-short.json").read_text())
    assert (tmp_path / "anderson-short.png").stat().st_size > 10_000
    cell = record["cells"]["GAAM/0"]
    assert cell["guided"][1] > 0.95 and cell["theory"][1] > 0.95 and cell["KAN"][1] > 0.8
    assert cell["states"] == [400, 400] and np.shape(cell["contour"]) == (anderson.GRID, anderson.GRID)
    assert "GAAM   [4, 2, 1, 1]  mean" in table and "exact: alpha E > 2 (1 - lambda)" in table
    monkeypatch.setattr(anderson, "learn", lambda *_, **__: pytest.fail("computed again"))
    assert anderson.run(tmp_path, progress=False, short=True) == table
