"""Allen-Cahn: batches in turn are the whole pool, the short form learns and resumes, and what the record shows."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref.papers import allen_cahn
from kanref.papers.allen_cahn import ADAM, FINE, HARD, MLP, NEWTON, RELU, SEEDS, SHORT, SPLINE
from kanref.pde.weighting import Attention

RECORD = Path(__file__).parent / "data" / "allen_cahn.json"


def test_networks_have_the_papers_sizes():
    assert [allen_cahn.network(n).size for n in (4, 8, 16, 32)] == [280, 440, 760, 1400]  # 40 edges of n + 3
    assert allen_cahn.network(4, degree=4).size == 320


def test_batches_in_turn_average_to_the_loss_on_the_pool():
    rng = np.random.default_rng(0)
    net, theta = allen_cahn.start()
    pool = [rng.uniform([-1, 0], [1, 1], (30, 2)) for _ in range(3)]
    attentions = [Attention(30, 0.5) for _ in pool]
    loss = allen_cahn.in_turn(net, pool, attentions, {}, hard=True)
    values = [loss(theta)[0] for _ in pool]
    whole = allen_cahn.problem.objective(net, {"equation": np.concatenate(pool)}, hard=True)
    assert_allclose(np.mean(values), whole.value(theta), rtol=1e-12)
    assert all(0.5 <= a.weights.min() < a.weights.max() == 1 for a in attentions)
    assert loss(theta)[0] < values[0]  # the first batch again, with its weights moved


def test_short_form(tmp_path, monkeypatch):
    table = allen_cahn.run(tmp_path, short=True)
    record = json.loads((tmp_path / "allen_cahn-short.json").read_text())
    done = record["cells"]
    assert set(done) == {f"{recipe} / {row} / 1234" for recipe, rows in allen_cahn.ROWS.items() for row in rows}
    best = done[f"{NEWTON} / {SPLINE} / 1234"]
    assert best["L2"] < 0.3 and best["parameters"] == 480
    assert done[f"{ADAM} / {SPLINE} / 1234"]["ends"] == [60, 120]
    assert done[f"{ADAM} / {FINE} / 1234"]["trace"][-1][0] == 120
    assert all(len(run["field"]) == np.prod(allen_cahn.SHOWN) for run in done.values())
    assert "power ReLUs" in table and "1234" in table
    assert (tmp_path / "allen_cahn-short.png").stat().st_size > 10_000
    monkeypatch.setattr(allen_cahn, "train", lambda *args, **options: pytest.fail("the cell was there already"))
    assert allen_cahn.run(tmp_path, short=True) == table


def test_work_of_fine_only_is_that_of_all_levels():
    """Evaluations times 2^level, Levenberg-Marquardt's rejected steps apart."""
    plan = SHORT | {"newton": SHORT["newton"] | {"levels": 3, "lbfgs": 80, "lm": 40}}
    levels = [stage.minimise for stage in allen_cahn.newton_plan(SPLINE, 1234, plan)[3]]
    fine = [stage.minimise for stage in allen_cahn.newton_plan(FINE, 1234, plan)[3]]
    assert len(levels) == 4 and len(fine) == 2
    assert levels[0].keywords["steps"] == 4 * fine[0].keywords["steps"] == 80
    assert allen_cahn.newton_plan(FINE, 1234, plan)[0].size == 40 * (16 + 4)


# ------------------------------------------------------------------------------------------------------- the record


@pytest.fixture(scope="module")
def record():
    record = json.loads(RECORD.read_text())
    assert record["settings"] == json.loads(json.dumps(allen_cahn.PLAN))
    return record["cells"]


def errors(record, recipe, row):
    return np.array([record[f"{recipe} / {row} / {seed}"]["L2"] for seed in SEEDS])
