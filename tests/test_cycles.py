"""Cycles: first-order consistency, exact corrections of quadratic losses, no rise of the loss, work as it was spent."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import objectives, optimize
from kanref.multilevel.cycles import Shifted, _Books, correct, cycle, cycles, hierarchy
from kanref.multilevel.nested import Stage, nested
from kanref.network import kan
from kanref.optimize import Result, Stop

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (300, 2))
Y = np.sin(4 * X[:, 0] + 1) * np.cos(3 * X[:, 1])


def loss(net):
    return objectives.mse(net, X, Y)


def network():
    return kan([2, 3, 1], intervals=3, base=None, outside="linear")


SMOOTH = partial(optimize.lbfgs, steps=4)


def on_the_fine_level(levels=1, seed=0):
    """Transfers, and parameters of the finest network that are on no coarser one."""
    net = network()
    transfers = hierarchy(net, levels)
    theta = net.init(seed)
    for transfer in transfers:
        theta = transfer.prolong(theta)
    return transfers, optimize.lbfgs(loss(transfers[-1].fine), theta, steps=10).theta


# ----------------------------------------------------------------------------------------------------- the correction


def test_the_coarse_problem_starts_with_the_restricted_gradient():
    (transfer,), theta = on_the_fine_level()
    fine, coarse, seen = loss(transfer.fine), loss(transfer.coarse), []

    def solve(objective, start):
        assert_array_equal(start, transfer.project(theta))
        seen.append(objective(start)[1])
        return start

    done = correct(transfer, fine, coarse, theta, solve)
    restricted = transfer.restrict(fine(theta)[1])
    assert_allclose(seen[0], restricted, rtol=0, atol=1e-14 * np.abs(coarse(transfer.project(theta))[1]).max() * 10)
    assert done.alpha == 0 and done.theta is theta and done.asked and done.evaluations == 1
    assert done.share == pytest.approx(np.linalg.norm(restricted) / np.linalg.norm(fine(theta)[1]))


def test_galerkin():
    """Properly nested on the same samples: tau = P' (grad L_f(P I u) - grad L_f(u)), zero just after a prolongation."""
    (transfer,), theta = on_the_fine_level()
    fine, coarse, seen = loss(transfer.fine), loss(transfer.coarse), []

    def solve(objective, start):
        seen.append(objective.tau)
        return start

    done = correct(transfer, fine, coarse, theta, solve)
    image = transfer.prolong(transfer.project(theta))
    tau = transfer.restrict(fine(image)[1] - fine(theta)[1])
    assert_allclose(seen[0], tau, rtol=0, atol=1e-12 * np.abs(tau).max())
    assert done.tau > 1e-2
    assert correct(transfer, fine, coarse, image, solve).tau < 1e-11
    assert_allclose(seen[1], 0, atol=1e-12)


def test_quadratic_losses_are_corrected_exactly():
    """One layer: the loss is quadratic, and whatever I is, u + P (v* - I u) is the minimum of L_f over u + range(P)."""
    net = kan([2, 1], intervals=4, base=None)
    (transfer,) = hierarchy(net, 1)
    fine, coarse = loss(transfer.fine), loss(transfer.coarse)
    theta = np.random.default_rng(1).normal(size=transfer.fine.size)

    def solve(objective, start):
        H = np.stack([objective(start + e)[1] for e in np.eye(start.size)], 1) - objective(start)[1][:, None]
        return start - np.linalg.lstsq(H, objective(start)[1], rcond=1e-10)[0]

    done = correct(transfer, fine, coarse, theta, solve)
    assert done.alpha == pytest.approx(1)
    assert_allclose(transfer.restrict(fine(done.theta)[1]), 0, atol=1e-12)
    assert done.value < fine(theta)[0] and done.value == fine(done.theta)[0]


def test_what_does_not_descend_is_refused():
    (transfer,), theta = on_the_fine_level()
    fine, coarse = loss(transfer.fine), loss(transfer.coarse)
    uphill = correct(transfer, fine, coarse, theta, lambda objective, start: start + objective(start)[1])
    assert uphill.alpha == 0 and uphill.theta is theta and uphill.evaluations == 1
    far = correct(transfer, fine, coarse, theta, lambda objective, start: start - 1e6 * objective(start)[1])
    assert far.value <= fine(theta)[0] and far.evaluations > 1


def test_kappa_decides_who_is_asked():
    (transfer,), theta = on_the_fine_level()
    fine, coarse, asked = loss(transfer.fine), loss(transfer.coarse), []
    solve = lambda objective, start: asked.append(1) or start
    share = correct(transfer, fine, coarse, theta, solve).share
    assert 0 < share < 1.5 and asked == [1]
    assert correct(transfer, fine, coarse, theta, solve, kappa=share * 0.999).asked
    refused = correct(transfer, fine, coarse, theta, solve, kappa=share * 1.001)
    assert not refused.asked and refused.alpha == 0 and asked == [1, 1]


def test_shifted():
    tau, theta = RNG.normal(size=3), RNG.normal(size=3)
    value, gradient = Shifted(lambda u: (float(u @ u), 2 * u), tau)(theta)
    assert value == pytest.approx(theta @ theta - tau @ theta)
    assert_allclose(gradient, 2 * theta - tau)


# --------------------------------------------------------------------------------------------------------- the cycles


@pytest.mark.parametrize("shape", "VW")
@pytest.mark.parametrize("kappa", [0.0, 0.5, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_never_rises(shape, kappa, seed):
    transfers, theta = on_the_fine_level(2, seed)
    objective = loss(transfers[-1].fine)
    log = []
    minimise = cycle(transfers, loss, [SMOOTH] * 3, 3, shape, kappa, record=lambda level, c: log.append((level, c)))
    result = minimise(objective, theta)
    assert result.reason is Stop.STEPS
    values = result.history.value
    assert values[0] == objective(theta)[0] and (np.diff(values) <= 1e-12 * values[0]).all()
    assert values[-1] == result.value == pytest.approx(objective(result.theta)[0], rel=1e-12)
    assert result.gradient_norm == pytest.approx(np.abs(objective(result.theta)[1]).max(), rel=1e-6)
    assert len(values) == result.steps + 1
    visits = {"V": 1, "W": 2}[shape]
    asked = [level for level, _ in log]
    assert asked == ([2] if kappa == 10 else [*[1] * visits, 2]) * 3 or 0 < kappa < 1
    assert all(c.asked == (c.share >= kappa) for _, c in log)


def test_never_asking_is_smoothing():
    transfers, theta = on_the_fine_level()
    objective = loss(transfers[-1].fine)
    twice = SMOOTH(objective, SMOOTH(objective, theta).theta)
    result = cycle(transfers, loss, [SMOOTH] * 2, kappa=10.0)(objective, theta)
    assert_array_equal(result.theta, twice.theta)


def test_cycles_that_do_not_pay_are_made_less_often():
    """Refused corrections: cycles 1, 3, 6, 11 of 12 rounds; the others smooth. Good ones are never paused."""
    transfers, theta = on_the_fine_level()
    objective, log = loss(transfers[-1].fine), []
    useless = lambda objective, theta, callback=None: optimize.lbfgs(objective, theta, steps=0)
    record = lambda level, c: log.append(c)
    cycle(transfers, loss, [useless, SMOOTH], 12, adaptive=True, record=record)(objective, theta)
    assert len(log) == 4 and all(c.alpha == 0 for c in log)
    log.clear()
    start = transfers[0].prolong(network().init(0))
    cycle(transfers, loss, [SMOOTH, useless], 3, adaptive=True, record=record)(objective, start)
    assert len(log) == 3 and all(c.alpha > 0 for c in log)


@pytest.mark.parametrize("gain, work, paid", [(0.2, 4.0, False), (0.2, 1.5, True), (0.05, 0.4, True), (0.0, 0.0, False)])
def test_a_correction_pays_work_for_work(gain, work, paid):
    books = _Books(None, 1, np.zeros(1), gains={"smoothing": (0.1, 1.0), "correction": (gain, work)})
    assert books.paid() is paid and books.gains == {}


def test_cycles_on_one_level_are_its_smoother():
    net, counted = network(), 3
    theta, result = net.init(0), cycle((), loss, [SMOOTH], counted, adaptive=True)(loss(net), net.init(0))
    for _ in range(counted):
        theta = SMOOTH(loss(net), theta).theta
    assert_array_equal(result.theta, theta)


def test_a_cycle_that_changes_nothing_is_the_last():
    transfers, theta = on_the_fine_level()
    useless = lambda objective, theta, callback=None: optimize.lbfgs(objective, theta, steps=0)
    result = cycle(transfers, loss, [useless] * 2, 100)(loss(transfers[-1].fine), theta)
    assert result.reason is Stop.LINE_SEARCH and result.evaluations < 10
    assert_array_equal(result.theta, theta)


def test_a_smoother_may_wander():
    """Adam ends with the best it has seen: the cycle goes on from there, and says so."""
    transfers, theta = on_the_fine_level()
    objective = loss(transfers[-1].fine)
    result = cycle(transfers, loss, [partial(optimize.adam, steps=10, rate=0.3)] * 2, 3)(objective, theta)
    assert result.value == objective(result.theta)[0] <= result.history.value.min()


class Counting:
    """A loss that counts evaluations by the size of the network."""

    def __init__(self):
        self.calls = {}

    def __call__(self, net):
        objective = loss(net)

        def counted(theta):
            self.calls[net.size] = self.calls.get(net.size, 0) + 1
            return objective(theta)

        return counted


@pytest.mark.parametrize("shape", "VW")
def test_work_is_what_was_spent(shape):
    net, counting, seen = network(), Counting(), []
    stages = [SMOOTH, SMOOTH, SMOOTH]
    done = cycles(net, net.init(0), counting, stages, 2, shape, callback=lambda own, state, work: seen.append(work))
    sizes = [level.net.size for level in done.levels]
    assert done.work == sum(2**level * counting.calls[size] for level, size in enumerate(sizes))
    assert seen == sorted(seen) and seen[-1] <= done.work
    assert [level.net.size for level in done.levels] == [t.coarse.size for t in hierarchy(net, 2)] + [done.net.size]
    values = [level.result.value for level in done.levels]
    assert values == sorted(values, reverse=True)
    for before, after in zip(done.levels, done.levels[1:]):
        assert_allclose(after.result.history.value[0], before.result.value, rtol=1e-12)


def test_a_cycle_is_a_stage_like_any_other():
    net = network()
    (transfer,) = hierarchy(net, 1)
    stages = [SMOOTH, Stage(cycle([transfer], loss, [SMOOTH] * 2, 2))]
    by_hand, at_once = nested(net, net.init(0), loss, stages, safeguard=False), cycles(net, net.init(0), loss, [SMOOTH] * 2, 2)
    assert_array_equal(by_hand.theta, at_once.theta)
    assert by_hand.work == at_once.work


def test_cycles_solve_what_smoothing_alone_cannot():
    """u'' = f with cubic splines: a loss of fourth-order stiffness, condition n^4. Gradient steps of length 1/|H| alone stall;
    with coarse corrections two cycles go down by nine orders of magnitude, on 16 intervals as on 32."""
    x = np.linspace(-1, 1, 200)[:, None]

    def residual(x, u, u_i, u_ij):
        return u_ij[:, 0, 0, 0] + np.pi**2 * np.sin(np.pi * x[:, 0]), (None, None, np.ones((len(x), 1, 1, 1)))

    def poisson(net):
        ends = objectives.mse(net, np.array([[-1.0], [1.0]]), np.zeros(2))
        return objectives.weighted_sum([(1.0, objectives.collocation(net, x, residual)), (100.0, ends)])

    def richardson(objective, theta, callback=None, steps=6):
        value, gradient = objective(theta)
        H = np.stack([objective(theta + e)[1] - gradient for e in np.eye(theta.size)], 1)
        rate = 1 / np.linalg.norm(H, 2)
        for _ in range(steps):
            theta = theta - rate * objective(theta)[1]
        return optimize.lbfgs(objective, theta, steps=0)

    factors = {}
    for levels in (2, 3):
        net = kan([1, 1], intervals=4, base=None)
        transfers = hierarchy(net, levels)
        objective = poisson(transfers[-1].fine)
        theta = np.random.default_rng(0).normal(size=transfers[-1].fine.size)
        H = np.stack([objective(e)[1] - objective(0 * e)[1] for e in np.eye(theta.size)], 1)
        least = objective(np.linalg.solve(H, -objective(np.zeros(theta.size))[1]))[0]
        coarsest = partial(optimize.lbfgs, steps=100)
        smoothers = [coarsest, *[richardson] * levels]
        done = cycle(transfers, poisson, smoothers, 2)(objective, theta)
        alone = richardson(objective, theta, steps=20 * 12)
        factors[levels] = [(result.value - least) / (objective(theta)[0] - least) for result in (done, alone)]
    for cycled, alone in factors.values():
        assert cycled < 1e-9 < 1e-4 < alone
    assert 0.1 < factors[3][0] / factors[2][0] < 10  # no matter how fine the grid is


# ------------------------------------------------------------------------------------------------- ends and interrupts


def test_the_callback_ends_a_cycle():
    transfers, theta = on_the_fine_level(2)
    objective, states = loss(transfers[-1].fine), []
    minimise = cycle(transfers, loss, [SMOOTH] * 3, 5)
    result = minimise(objective, theta, callback=lambda state: states.append(state) or state.step == 7)
    assert result.reason is Stop.CALLBACK and result.steps == 7
    assert [state.step for state in states] == list(range(8))
    assert [state.evaluations for state in states] == sorted(state.evaluations for state in states)
    assert [state.value for state in states] == list(result.history.value)
    for state in states:
        assert state.value == pytest.approx(objective(state.theta)[0], rel=1e-12)


@pytest.mark.parametrize("when", [1, 5, 30, 61])
def test_an_interrupt_anywhere(when):
    calls = []

    def interrupted(net):
        objective = loss(net)

        def counted(theta):
            calls.append(1)
            if len(calls) == when:
                raise KeyboardInterrupt
            return objective(theta)

        return counted

    transfers, theta = on_the_fine_level(2)
    objective = interrupted(transfers[-1].fine)
    minimise = cycle(transfers, interrupted, [SMOOTH] * 3, 5)
    if when == 1:
        with pytest.raises(KeyboardInterrupt):
            minimise(objective, theta)
        return
    result = minimise(objective, theta)
    assert isinstance(result, Result) and result.reason is Stop.INTERRUPTED
    assert result.value == pytest.approx(loss(transfers[-1].fine)(result.theta)[0], rel=1e-12)


def test_what_is_said():
    net = network()
    transfers = hierarchy(net, 2)
    with pytest.raises(ValueError, match="one minimiser for each of the 3 levels, but there are 2"):
        cycle(transfers, loss, [SMOOTH] * 2)
    with pytest.raises(ValueError, match="shape must be one of 'V', 'W'.*'F'"):
        cycle(transfers, loss, [SMOOTH] * 3, shape="F")
    with pytest.raises(ValueError, match="count"):
        cycle(transfers, loss, [SMOOTH] * 3, count=0)
    with pytest.raises(ValueError, match=r"stages of cycles must refine once each, but they refine \[2\] times"):
        cycles(net, net.init(0), loss, [SMOOTH, Stage(SMOOTH, refine=2)])
    with pytest.raises(ValueError, match="start without moments, on every level anew; leave carry out"):
        cycles(net, net.init(0), loss, [SMOOTH, Stage(SMOOTH, carry=True)])
