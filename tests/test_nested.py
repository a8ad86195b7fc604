"""Nested iteration: the loss never rises between stages, work is counted, stalls are mended, interrupts keep what is there."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import objectives, optimize
from kanref.multilevel import nested as module
from kanref.multilevel.nested import Level, Stage, least_squares, nested
from kanref.multilevel.transfer import dyadic
from kanref.network import kan
from kanref.optimize import Result, Stop, schedules


def data(seed=0, count=300):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (count, 2))
    return x, np.sin(4 * x[:, 0] + 1) * np.cos(3 * x[:, 1])


X, Y = data()


def loss(net):
    return objectives.mse(net, X, Y)


def network(outside="linear", **options):
    return kan([2, 3, 1], intervals=3, base=None, outside=outside, **options)


LBFGS = partial(optimize.lbfgs, steps=30)
ADAM = partial(optimize.adam, steps=60, rate=schedules.warmup(1e-2, 1e-4, 10))


def stalls(objective, theta, callback=None):
    """A minimiser that does nothing and says that it found no way down."""
    return replace(optimize.lbfgs(objective, theta, steps=0, callback=callback), reason=Stop.LINE_SEARCH)


# ---------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("minimise", [LBFGS, ADAM, least_squares(8)], ids=["lbfgs", "adam", "least squares"])
@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
def test_every_stage_starts_where_the_one_before_ended(minimise, outside):
    net = network(outside)
    done = nested(net, net.init(0), loss, [minimise] * 3)
    assert done.reason is Stop.STEPS and len(done.levels) == 3
    for before, after in zip(done.levels, done.levels[1:]):
        first = after.result.history.value[0]
        assert first <= before.result.value * (1 + 1e-12)
        if outside != "zero":
            assert_allclose(first, before.result.value, rtol=1e-12)
        assert after.result.value < first
        assert after.net.size > before.net.size
    last = done.levels[-1]
    assert done.net is last.net
    assert_array_equal(done.theta, last.theta)
    assert_allclose(loss(done.net)(done.theta)[0], last.result.value, rtol=1e-12)


def test_the_parameters_are_those_of_the_paper():
    """20 (n + 3) for the edges of [3, 5, 1], n = 4, 8, 16, 32 intervals (Poisson with a jump): 140, 220, 380, 700."""
    net = kan([3, 5, 1], intervals=4, base=None, outside="linear")
    x = np.hstack([X, np.abs(X[:, :1])])
    done = nested(net, net.init(0), lambda net: objectives.mse(net, x, Y), [partial(optimize.lbfgs, steps=2)] * 4)
    assert [level.net.size for level in done.levels] == [140, 220, 380, 700]


def test_stages_on_one_level_and_two_refinements_at_once():
    net = network()
    done = nested(net, net.init(0), loss, [ADAM, Stage(LBFGS, refine=0), Stage(LBFGS, refine=2)], safeguard=False)
    assert [level.net.layers[0].terms["spline"].basis.intervals for level in done.levels] == [3, 3, 12]
    assert done.levels[1].net is net
    units = [level.work / level.result.evaluations for level in done.levels]
    assert units == [1, 1, 4] and done.work == sum(level.work for level in done.levels)


def test_least_squares_reports_the_loss():
    net, seen = network(), []
    objective, theta = loss(net), net.init(0)
    result = least_squares(3)(objective, theta, callback=lambda state: seen.append(state.value))
    plain = optimize.levenberg_marquardt(objective.residuals, theta, steps=3)
    assert_allclose(result.value, objective(result.theta)[0], rtol=1e-12)
    assert_allclose(result.gradient_norm, np.abs(objective(result.theta)[1]).max(), rtol=1e-9)
    assert_array_equal(result.theta, plain.theta)
    assert_array_equal(result.history.value, seen)
    with pytest.raises(TypeError, match="least_squares needs an objective with residuals, but function has none"):
        least_squares(3)(lambda theta: (theta @ theta, 2 * theta), theta)


def test_the_callback_sees_networks_and_work():
    net, rows = network(), []
    done = nested(net, net.init(0), loss, [LBFGS, LBFGS], callback=lambda *row: rows.append(row))
    sizes = [own.size for own, _, _ in rows]
    assert sizes == sorted(sizes) and set(sizes) == {level.net.size for level in done.levels}
    assert [state.step for _, state, _ in rows] == [*range(31), *range(31)]
    work = [w for *_, w in rows]
    assert work == sorted(work) and work[-1] <= done.work
    first = done.levels[0]
    assert work[31] == first.work + 2 * 1  # the first evaluation of a level that costs twice
    for own, state, _ in (rows[7], rows[40]):
        assert_allclose(loss(own)(state.theta)[0], state.value, rtol=1e-12)


# --------------------------------------------------------------------------------------------------------- safeguard


def test_no_loss_rises_in_a_transfer_that_leaves_the_domain():
    """outside="zero" with hidden values outside: "fine" changes the function, so if the loss rose the whole line is refined."""
    net = network("zero")
    exact, fine = dyadic(net, "nested"), dyadic(net, "fine")
    rose = []
    for seed in range(8):
        theta = 3 * net.init(seed)
        before, after = loss(net)(theta)[0], loss(fine.fine)(fine.prolong(theta))[0]
        rose.append(after > before)
        done = nested(net, theta, loss, [partial(optimize.lbfgs, steps=0)] * 2)
        assert done.net.layout == (exact if rose[-1] else fine).fine.layout
        assert done.levels[1].result.history.value[0] == pytest.approx(before if rose[-1] else after, rel=1e-12)
        assert done.levels[1].work == 2 * (done.levels[1].result.evaluations + 2)
        trusting = nested(net, theta, loss, [partial(optimize.lbfgs, steps=0)] * 2, safeguard=False)
        assert trusting.net.layout == fine.fine.layout
    assert any(rose) and not all(rose)


def test_fine_stays_where_it_is_exact():
    net = network("zero", normalise="tanh")
    done = nested(net, net.init(0), loss, [LBFGS] * 2)
    assert done.net.layout == dyadic(net, "fine").fine.layout


def test_a_stalled_stage_is_started_again():
    tries = []

    def at_first_stalls(objective, theta, callback=None):
        tries.append(objective(theta)[0])
        return (stalls if len(tries) == 1 else LBFGS)(objective, theta, callback=callback)

    net, rows = network(), []
    trusting = nested(net, net.init(0), loss, [LBFGS, stalls], safeguard=False)
    assert trusting.levels[1].result.value == pytest.approx(trusting.levels[0].result.value, rel=1e-12)
    assert not trusting.levels[1].restarted
    done = nested(net, net.init(0), loss, [LBFGS, at_first_stalls], callback=lambda *row: rows.append(row))
    level = done.levels[1]
    assert level.restarted and not done.levels[0].restarted
    assert level.result.value < tries[1] < tries[0] / 2
    history = level.result.history
    assert (np.diff(history.evaluations) >= 0).all() and history.evaluations[-1] <= level.result.evaluations
    assert level.work == 2 * level.result.evaluations
    assert history.value[-1] == level.result.value == pytest.approx(loss(done.net)(done.theta)[0])
    assert len(history) == level.result.steps + 3  # three runs, each with its start
    assert [work for *_, work in rows] == sorted(work for *_, work in rows)
    assert "LINE_SEARCH" not in repr(done) and "after a restart" in repr(done)


def test_a_stage_that_stalls_for_good_is_left_alone():
    """Small Adam steps where there are no residuals; a restart that does not help ends with the best there was."""
    net = network()
    value = lambda net: lambda theta: loss(net)(theta)
    done = nested(net, net.init(0), value, [LBFGS, stalls])
    level = done.levels[1]
    assert level.restarted and level.result.reason is Stop.LINE_SEARCH
    assert level.result.value < done.levels[0].result.value
    assert level.result.steps == 200


@pytest.mark.parametrize("reason", [Stop.SECONDS, Stop.GRADIENT])
def test_a_stage_out_of_time_or_at_a_minimum_is_no_stall(reason):
    ended = lambda objective, theta, callback=None: replace(stalls(objective, theta, callback), reason=reason)
    net = network()
    done = nested(net, net.init(0), loss, [LBFGS, ended])
    assert not done.levels[1].restarted and done.levels[1].result.reason is reason


def test_large_networks_are_restarted_by_small_steps(monkeypatch):
    net = network()
    steps = lambda: nested(net, net.init(0), loss, [LBFGS, stalls]).levels[1].result.steps
    assert steps() == module.RESCUE
    monkeypatch.setattr(module, "DENSE", net.size)  # the fine network is larger
    assert steps() == 10 * module.RESCUE


def test_work_of_a_compared_transfer_is_seen():
    seen, net = [], network("zero")
    done = nested(net, net.init(0), loss, [LBFGS] * 2, callback=lambda own, state, work: seen.append((own.size, work)))
    first = next(work for size, work in seen if size != net.size)
    assert first == done.levels[0].work + 2 * (2 + 1)  # two evaluations to compare, one at the start


def test_progress_is_enough():
    """Without residuals a hundredth is progress, with them a half."""
    slow = partial(optimize.lbfgs, steps=3)
    net = network()
    start = optimize.lbfgs(loss(net), net.init(0), steps=200).theta
    hidden = lambda net: lambda theta: loss(net)(theta)
    for objective, restarted in ((loss, True), (hidden, False)):
        level = nested(net, start, objective, [slow, slow]).levels[1]
        assert level.restarted is restarted
    absolute = nested(net, start, lambda net: objectives.mae(net, X, Y), [slow, stalls])
    assert absolute.levels[1].restarted and absolute.levels[1].result.steps == 200


# ------------------------------------------------------------------------------------------------- interrupts, moments


def test_an_interrupt_keeps_what_is_there():
    def interrupted(objective, theta, callback=None):
        raise KeyboardInterrupt

    net = network()
    theta = net.init(0)
    done = nested(net, theta, loss, [LBFGS, interrupted, LBFGS])
    assert done.reason is Stop.INTERRUPTED and len(done.levels) == 1
    assert done.net.size > net.size  # the function of level 0, on the grid it was just carried to
    assert_allclose(done.net(done.theta, X), net(done.levels[0].theta, X), rtol=0, atol=1e-13)
    at_once = nested(net, theta, loss, [interrupted])
    assert at_once.levels == () and at_once.net is net and at_once.work == 0
    assert_array_equal(at_once.theta, theta)


def test_an_interrupt_inside_a_stage():
    calls = []

    def counted(net):
        def objective(theta):
            calls.append(1)
            if len(calls) == 60:
                raise KeyboardInterrupt
            return loss(net)(theta)

        return objective

    net = network()
    done = nested(net, net.init(0), counted, [LBFGS] * 3)
    assert done.reason is Stop.INTERRUPTED and len(done.levels) == 2
    assert done.levels[1].result.reason is Stop.INTERRUPTED and not done.levels[1].restarted
    assert_array_equal(done.theta, done.levels[1].theta)


def test_an_interrupt_at_the_first_evaluation_of_a_restart_keeps_the_stage():
    net, calls = network(), []

    def loss_of(net):
        def objective(theta):
            calls.append(1)
            if len(calls) == limit:
                raise KeyboardInterrupt
            return loss(net)(theta)

        return objective

    limit = 0
    slow = partial(optimize.adam, steps=3, rate=1e-9)
    at_rest = nested(net, net.init(0), loss_of, [slow] * 2)
    assert at_rest.levels[1].restarted
    calls.clear()
    limit = 4 + 4 + 1  # either stage has four evaluations; then comes the first one of the small steps
    done = nested(net, net.init(0), loss_of, [slow] * 2)
    assert done.reason is Stop.INTERRUPTED and len(done.levels) == 2
    stage = done.levels[1].result
    assert stage.value < done.levels[0].result.value and stage.steps == 3
    assert_array_equal(done.theta, stage.theta)


def test_the_callback_ends_it():
    net = network()
    done = nested(net, net.init(0), loss, [LBFGS] * 3, callback=lambda own, state, work: own is not net and state.step == 5)
    assert done.reason is Stop.CALLBACK and len(done.levels) == 2
    assert done.levels[1].result.steps == 5


@dataclass(frozen=True, eq=False)
class Remembering(Result):
    moments: tuple = None


def momentum(objective, theta, callback=None, moments=None):
    """Steps of heavy ball that keep m, an average of gradients, and v, one of their squares."""
    m, v, count = moments or (np.zeros_like(theta), np.zeros_like(theta), 0)
    m, v, values = m.copy(), v.copy(), []
    for _ in range(5):
        value, gradient = objective(theta)
        values.append(value)
        m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
        theta = theta - 0.02 * m
    result = optimize.lbfgs(objective, theta, steps=0, callback=callback)
    fields = {name: getattr(result, name) for name in Result.__dataclass_fields__ if name != "moments"}
    return Remembering(**fields, moments=(m, v, count + 5))


def test_moments_are_carried_over():
    seen = []

    def looked_at(objective, theta, callback=None, moments=None):
        seen.append(moments)
        return momentum(objective, theta, callback=callback, moments=moments)

    net = network()
    done = nested(net, net.init(0), loss, [momentum, Stage(looked_at, carry=True), Stage(looked_at, refine=0)], safeguard=False)
    m, v, count = done.levels[0].result.moments
    transfer = dyadic(net, "fine")
    assert_array_equal(seen[0][0], transfer.prolong(m))
    assert_array_equal(seen[0][1], transfer.prolong_squares(v))
    assert seen[0][2] == count == 5 and done.levels[1].result.moments[2] == 10
    assert (seen[0][1] >= 0).all()
    assert seen[1] is None  # without carry


# -------------------------------------------------------------------------------------------------------------- words


def test_what_is_said():
    net = network()
    theta = net.init(0)
    with pytest.raises(ValueError, match="stages must hold at least one Stage"):
        nested(net, theta, loss, [])
    with pytest.raises(TypeError, match=r"minimise must be a function \(objective, theta, callback=None\) -> Result, got 100"):
        Stage(100)
    with pytest.raises(ValueError, match="refine"):
        Stage(LBFGS, refine=-1)
    with pytest.raises(ValueError, match="theta"):
        nested(net, theta[:-1], loss, [LBFGS])
    with pytest.raises(ValueError, match='exterior="nested" widens the domain'):
        nested(net, theta, loss, [LBFGS] * 2, exterior="nested")
    lines = repr(nested(net, theta, loss, [LBFGS] * 2)).splitlines()
    assert lines[0] == "Nested [STEPS]" and len(lines) == 4
    assert isinstance(nested(net, theta, loss, [LBFGS]).levels[0], Level)
