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
    assert set(done) == {f"{recipe} / {row} / 1234" for recipe, row in allen_cahn.ROWS}
    best = done[f"{NEWTON} / {SPLINE} / 1234"]
    assert best["L2"] < 0.3 and best["parameters"] == 480
    assert done[f"{ADAM} / {SPLINE} / 1234"]["ends"] == [60, 120]
    assert done[f"{ADAM} / {FINE} / 1234"]["trace"][-1][0] == 120
    assert len(best["field"]) == np.prod(allen_cahn.SHOWN)
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


def errors(record, *pair):
    return np.array([record[f"{' / '.join(pair)} / {seed}"]["L2"] for seed in SEEDS[: allen_cahn.ROWS[pair]]])


def test_second_order_steps_on_three_levels_solve_it_on_every_seed(record):
    """Relative L2 at or below 1e-3, and so below 1e-2 within the paper's 10000 evaluations."""
    for seed in SEEDS:
        run = record[f"{NEWTON} / {SPLINE} / {seed}"]
        assert run["L2"] <= 1e-3 and run["largest"] < 1e-2 and run["evaluations"] <= 1000


def test_with_adam_only_the_splines_across_levels_come_near(record):
    """The order of the paper's figure. But one seed of three misses, and the target of 1e-2 is missed by all, hard or soft."""
    levels, hard = errors(record, ADAM, SPLINE), errors(record, HARD, SPLINE)
    assert all(errors(record, ADAM, row).min() > 4 * np.median(levels) for row in (FINE, RELU, MLP))
    assert 1e-2 < hard.min() < hard.max() < levels.min() < np.median(levels) < 0.11 < levels.max()


def test_every_level_lowers_loss_and_error_of_second_order_steps(record):
    for seed in SEEDS:
        run = record[f"{NEWTON} / {SPLINE} / {seed}"]
        steps, _, loss, L2 = np.array(run["trace"]).T
        at = [np.searchsorted(steps, end) - 1 for end in run["ends"][1:]]
        assert (loss[at][1:] < 0.2 * loss[at][:-1]).all() and (L2[at][1:] < 0.3 * L2[at][:-1]).all()


def test_the_record_makes_the_figure_and_the_table(record):
    results = {pair: [record[f"{' / '.join(pair)} / {seed}"] for seed in SEEDS[:n]] for pair, n in allen_cahn.ROWS.items()}
    figure = allen_cahn.draw(results)
    assert len(figure.axes) == 2 * 3 + 2 * 4  # with colour bars
    table = allen_cahn.text(results)
    assert all(f"{run['L2']:.1e}" in table for runs in results.values() for run in runs)
