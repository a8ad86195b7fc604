"""Optimisers: equal to their definitions, Wolfe at every step, to rounding, honest outcomes."""

import os
import signal
import subprocess
import sys
from dataclasses import FrozenInstanceError
from math import cos, inf, nan, pi

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from kanref.optimize import (
    Result,
    State,
    Stop,
    adam,
    lbfgs,
    levenberg_marquardt,
    schedules,
    two_loop,
)
from kanref.optimize.line_search import Point, strong_wolfe

EPS = np.finfo(float).eps


# Standard problems (More, Garbow and Hillstrom, 1981): residuals and Jacobian, and a start.


def rosenbrock(x):
    r, J = np.empty(x.size), np.zeros((x.size, x.size))
    odd, even = x[::2], x[1::2]
    i = np.arange(0, x.size, 2)
    r[i], r[i + 1] = 10 * (even - odd**2), 1 - odd
    J[i, i], J[i, i + 1], J[i + 1, i] = -20 * odd, 10, -1
    return r, J


def beale(x):
    i = np.arange(1, 4)
    r = np.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** i)
    return r, np.stack([x[1] ** i - 1, i * x[0] * x[1] ** (i - 1)], axis=1)


def booth(x):
    J = np.array([[1.0, 2.0], [2.0, 1.0]])
    return J @ x - [7, 5], J


def brown_badly_scaled(x):
    r = np.array([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])
    return r, np.array([[1, 0], [0, 1], [x[1], x[0]]])


def powell_singular(x):
    r, J = np.empty(x.size), np.zeros((x.size, x.size))
    a, b, c, d = x[::4], x[1::4], x[2::4], x[3::4]
    i = np.arange(0, x.size, 4)
    r[i], r[i + 1] = a + 10 * b, 5**0.5 * (c - d)
    r[i + 2], r[i + 3] = (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2
    J[i, i], J[i, i + 1], J[i + 1, i + 2], J[i + 1, i + 3] = 1, 10, 5**0.5, -(5**0.5)
    J[i + 2, i + 1], J[i + 2, i + 2] = 2 * (b - 2 * c), -4 * (b - 2 * c)
    J[i + 3, i], J[i + 3, i + 3] = 2 * 10**0.5 * (a - d), -2 * 10**0.5 * (a - d)
    return r, J


def wood(x):
    a, b, c, d = x
    p, q = 90**0.5, 10**0.5
    r = [10 * (b - a**2), 1 - a, p * (d - c**2), 1 - c, q * (b + d - 2), (b - d) / q]
    J = [[-20 * a, 10, 0, 0], [-1, 0, 0, 0], [0, 0, -2 * p * c, p]]
    J += [[0, 0, -1, 0], [0, q, 0, q], [0, 1 / q, 0, -1 / q]]
    return np.array(r), np.array(J)


def broyden_tridiagonal(x):
    r = (3 - 2 * x) * x + 1
    r[1:] -= x[:-1]
    r[:-1] -= 2 * x[1:]
    return r, np.diag(3 - 4 * x) - np.eye(x.size, k=-1) - 2 * np.eye(x.size, k=1)


def trigonometric(x):
    i = np.arange(1, x.size + 1)
    r = x.size - np.cos(x).sum() + i * (1 - np.cos(x)) - np.sin(x)
    return r, np.sin(x) + np.diag(i * np.sin(x) - np.cos(x))


def variably_dimensioned(x):
    i = np.arange(1.0, x.size + 1)
    t = i @ (x - 1)
    return np.r_[x - 1, t, t**2], np.vstack([np.eye(x.size), i, 2 * t * i])


def helical_valley(x):
    square = x[0] ** 2 + x[1] ** 2
    turn, radius = np.arctan2(x[1], x[0]) / (2 * pi), square**0.5
    r = np.array([10 * (x[2] - 10 * turn), 10 * (radius - 1), x[2]])
    t1, t2 = -x[1] / (2 * pi * square), x[0] / (2 * pi * square)
    radial = [10 * x[0] / radius, 10 * x[1] / radius, 0]
    return r, np.array([[-100 * t1, -100 * t2, 10], radial, [0, 0, 1]])


RESIDUALS = {
    "rosenbrock 2": (rosenbrock, [-1.2, 1.0]),
    "rosenbrock 10": (rosenbrock, [-1.2, 1.0, -1.0, 1.2, 0.5, 2.0, -0.7, 0.3, 2.0, -1.0]),
    "beale": (beale, [1.0, 1.0]),
    "booth": (booth, [0.0, 0.0]),
    "brown badly scaled": (brown_badly_scaled, [1.0, 1.0]),
    "powell singular": (powell_singular, [3.0, -1.0, 0.0, 1.0]),
    "powell extended": (powell_singular, [3.0, -1.0, 0.0, 1.0, 2.0, -2.0, 1.0, 0.0]),
    "wood": (wood, [-3.0, -1.0, -3.0, -1.0]),
    "broyden tridiagonal": (broyden_tridiagonal, [-1.0] * 50),
    "trigonometric": (trigonometric, [0.1] * 10),
    "variably dimensioned": (variably_dimensioned, list(1 - np.arange(1, 11) / 10)),
    "helical valley": (helical_valley, [-1.0, 0.0, 0.0]),
}


def squares(residuals):
    """The objective |r|^2."""

    def objective(x):
        r, J = residuals(x)
        return float(r @ r), 2 * J.T @ r

    return objective


def rosenbrock_chain(x):
    a, b = x[:-1], x[1:]
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * a * (b - a**2) - 2 * (1 - a)
    gradient[1:] += 200 * (b - a**2)
    return float(np.sum(100 * (b - a**2) ** 2 + (1 - a) ** 2)), gradient


def quadratic(diagonal, offset=0.0):
    def objective(x):
        return offset + 0.5 * float(x @ (diagonal * x)), diagonal * x

    return objective


def log_sum_exp(A, b):
    def objective(x):
        t = A @ x + b
        e = np.exp(t - t.max())
        return float(t.max() + np.log(e.sum())), A.T @ (e / e.sum())

    return objective


def logistic_regression(X, label):
    def objective(w):
        margin = label * (X @ w)
        slope = -label / (1 + np.exp(margin)) / label.size
        return float(np.logaddexp(0, -margin).mean() + 5e-4 * w @ w), X.T @ slope + 1e-3 * w

    return objective


rng = np.random.default_rng(0)
X = rng.normal(size=(200, 8)) * np.logspace(0, 1, 8)
label = np.sign(X @ rng.normal(size=8) + rng.normal(size=200))
PROBLEMS = {name: (squares(residuals), np.array(x)) for name, (residuals, x) in RESIDUALS.items()}
PROBLEMS |= {
    "rosenbrock chain 10": (rosenbrock_chain, np.tile([-1.2, 1.0], 5)),
    "quadratic, condition 1e6": (quadratic(np.logspace(-4, 2, 12)), np.ones(12)),
    "log-sum-exp": (log_sum_exp(rng.normal(size=(60, 10)), rng.normal(size=60)), np.ones(10)),
    "logistic regression": (logistic_regression(X, label), np.zeros(8)),
}
problems = pytest.mark.parametrize("name", PROBLEMS)


def spline_basis(z, intervals, low, high, order=0):
    """All cubic B-splines of uniform knots at the points z, (N, intervals + 3)."""
    h = (high - low) / intervals
    knots = low + h * np.arange(-3, intervals + 4)
    return BSpline(knots, np.eye(intervals + 3), 3)(z, nu=order)


def spline_network(seed, points=100, intervals=3, target=None):
    """Residuals / sqrt(points) of a [2, 1, 1] spline network; data of another one, or `target`."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (points, 2))
    inner = np.hstack([spline_basis(x[:, p], intervals, -1, 1) for p in (0, 1)])
    K = intervals + 3

    def residuals(theta):
        z = inner @ theta[: 2 * K]
        outer, derivatives = (spline_basis(z, intervals, -3, 3, order) for order in (0, 1))
        J = np.hstack([(derivatives @ theta[2 * K :])[:, None] * inner, outer])
        return (outer @ theta[2 * K :] - y) / points**0.5, J / points**0.5

    y = 0.0
    start = rng.normal(size=3 * K) * 0.3
    start[2 * K :] += np.linspace(-3, 3, K)
    if target is None:
        y = residuals(start + 0.1 * rng.normal(size=3 * K))[0] * points**0.5
    else:
        y = target(x)
    return residuals, start


METHODS = {
    "adam": lambda objective, theta, **options: adam(objective, theta, **{"rate": 0.1} | options),
    "lbfgs": lbfgs,
    "levenberg_marquardt": levenberg_marquardt,
}
methods = pytest.mark.parametrize("method", METHODS)


def problem_for(method, name="rosenbrock 2"):
    """The problem in the form that the method takes, a start, and the value that it reports."""
    residuals, start = RESIDUALS[name]
    start = np.array(start)
    if method == "levenberg_marquardt":
        return residuals, start, lambda x: 0.5 * float(residuals(x)[0] @ residuals(x)[0])
    return squares(residuals), start, lambda x: squares(residuals)(x)[0]


# Adam


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["number", "vector", "schedule", "vector schedule"])
def test_adam_takes_the_steps_of_the_definition(kind, dtype):
    from kanref import spec

    vector = np.linspace(0.001, 0.1, 10)
    rate, at = {
        "number": (0.02, lambda t: 0.02),
        "vector": (vector, lambda t: vector),
        "schedule": (lambda t: 0.05 * 0.9**t, lambda t: 0.05 * 0.9**t),
        "vector schedule": (lambda t: vector * 0.9**t, lambda t: vector * 0.9**t),
    }[kind]
    start = np.tile([-1.2, 1.0], 5).astype(dtype)
    seen = []
    result = adam(
        rosenbrock_chain, start, steps=20, rate=rate, beta1=0.8, beta2=0.99, eps=1e-6, keep="last",
        callback=lambda state: seen.append(state.theta),
    )
    theta, m, v = start.astype(float), np.zeros(10), np.zeros(10)
    tolerance = 1e-13 if dtype == np.float64 else 1e-5
    for t in range(1, 21):
        gradient = rosenbrock_chain(theta)[1]
        theta, m, v = spec.adam_step(theta, gradient, m, v, t, at(t - 1), 0.8, 0.99, 1e-6)
        assert_allclose(seen[t], theta, rtol=tolerance, atol=tolerance)
    assert_array_equal(result.theta, seen[20])
    assert result.theta.dtype == dtype
    assert (result.steps, result.evaluations, result.reason) == (20, 21, Stop.STEPS)


def test_adam_keeps_the_best_or_the_last_and_both_are_whole():
    objective, start = PROBLEMS["rosenbrock 2"]
    best, last = (adam(objective, start, steps=9, rate=0.3, keep=keep) for keep in ("best", "last"))
    assert best.value == best.history.value.min() < last.value == last.history.value[-1]
    for result in best, last:
        value, gradient = objective(result.theta)
        assert (result.value, result.gradient_norm) == (value, abs(gradient).max())


def test_adam_goes_on_where_a_batch_has_no_gradient():
    batches = iter([1.0, 0.0, 0.0, 1.0])
    result = adam(lambda x: (1.0, next(batches) * x), np.ones(2), steps=3, keep="last")
    assert (result.steps, result.reason) == (3, Stop.STEPS)


def test_adam_stops_at_a_value_that_is_not_finite_and_returns_a_finite_iterate():
    for value, slope in (nan, 1.0), (inf, 1.0), (0.0, nan), (-inf, 1.0):
        result = adam(
            lambda x, v=value, s=slope: (x[0], np.ones(1)) if x[0] > 0.5 else (v, np.full(1, s)),
            np.array([1.0]), steps=50, rate=0.1, keep="last",
        )
        assert result.reason is Stop.NON_FINITE and not result.converged
        assert 0.5 < result.theta[0] < 0.7 and result.value == result.theta[0]


# Schedules


def test_schedule_values():
    values = lambda schedule, *steps: [schedule(step) for step in steps]
    assert values(schedules.constant(0.1), 0, 7) == [0.1, 0.1]
    assert_allclose(values(schedules.warmup(1.0, 0.2, 4), 0, 1, 2, 4, 9), [0.2, 0.4, 0.6, 1, 1])
    assert_allclose(values(schedules.exponential_decay(2.0, 0.5), 0, 1, 3), [2, 1, 0.25])
    cosine = schedules.cosine(1.0, 8, final=0.2)
    assert_allclose(values(cosine, 0, 2, 4, 8, 99), [1, 0.6 + 0.4 * cos(pi / 4), 0.6, 0.2, 0.2])
    wave = schedules.cyclic(1.0, 4, 1.0)
    assert_allclose(values(wave, 0, 1, 2, 3, 4, 5), [0.25, 0.75, 0.75, 0.25, 0.25, 0.75])


def test_the_papers_cycle_is_positive_bounded_by_its_envelope_and_half_of_it_on_average():
    schedule = schedules.cyclic(1e-3, 100, 0.9995)
    rates = np.array([schedule(step) for step in range(10_000)])
    envelope = 1e-3 * 0.9995 ** np.arange(10_000)
    assert (rates > 0).all() and (rates <= envelope).all()
    assert_allclose((rates / envelope).reshape(100, 100).mean(axis=1), 0.5)
    assert_allclose((rates / envelope).reshape(100, 100).max(axis=1), 0.99)


def test_schedules_compose_and_take_vectors():
    decay = schedules.exponential_decay(1.0, 0.5)
    ramp = schedules.restart(schedules.warmup(decay, 0.0, 2), at=[3, 5])
    assert_allclose([ramp(step) for step in range(7)], [0, 0.25, 0.25, 0, 0.25, 0, 0.25])
    rates = np.array([1.0, 3.0])
    for schedule in (
        schedules.exponential_decay(rates, 0.9),
        schedules.warmup(rates, 0.0, 5),
        schedules.cyclic(rates, 6, 0.9),
        schedules.cosine(rates, 9),
    ):
        assert_allclose(schedule(3)[1], 3 * schedule(3)[0])
        assert_array_equal(rates, [1, 3])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: schedules.constant(-1.0), "rate must be finite and not negative, got -1"),
        (lambda: schedules.cosine(nan, 3), "rate must be finite and not negative, got nan"),
        (lambda: schedules.warmup(1.0, -0.1, 3), "start must be at least 0"),
        (lambda: schedules.warmup(1.0, 0.1, 0), "steps must be at least 1, got 0"),
        (lambda: schedules.exponential_decay(1.0, 0.0), "factor must be above 0, got 0"),
        (lambda: schedules.cyclic(1.0, 0, 0.9), "period must be at least 1, got 0"),
        (lambda: schedules.restart(0.1, [5, 5]), r"at must be increasing steps, got \[5, 5\]"),
    ],
)
def test_schedules_refuse_with_a_message(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Line search


LINES = {
    "bounded": lambda a: (-a / (a**2 + 2), (a**2 - 2) / (a**2 + 2) ** 2),
    "fifth power": lambda a: (
        (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4,
        5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3,
    ),
    "oscillating": lambda a: (
        (a - 1) ** 2 / 4 + 0.02 * np.sin(20 * a),
        (a - 1) / 2 + 0.4 * np.cos(20 * a),
    ),
    "barrier": lambda a: (-np.log(1 - a) - 2 * a, 1 / (1 - a) - 2) if a < 1 else (nan, nan),
    "wall": lambda a: (a**4 - a, 4 * a**3 - 1) if a < 2 else (-inf, -inf),
    "quartic": lambda a: ((a - 1e-3) ** 4, 4 * (a - 1e-3) ** 3),
}

@pytest.mark.parametrize("c1, c2", [(1e-4, 0.9), (1e-3, 0.1)])
@pytest.mark.parametrize("line", LINES)
def test_line_search_meets_strong_wolfe_from_any_first_step(line, c1, c2):
    phi = lambda a: Point(a, *map(float, LINES[line](a)))
    start = phi(0.0)
    for first in np.logspace(-6, 6, 13):
        found = strong_wolfe(phi, start, first, c1=c1, c2=c2)
        assert found.value <= start.value + c1 * found.step * start.slope
        assert abs(found.slope) <= -c2 * start.slope


def test_line_search_comes_back_quickly_from_where_nothing_is_finite():
    trials = []

    def phi(a):
        trials.append(a)
        return Point(a, *map(float, LINES["barrier"](a)))

    assert strong_wolfe(phi, Point(0.0, 0.0, -1.0), 1e8).step < 1
    assert len(trials) <= 12


def test_line_search_returns_the_decrease_at_a_kink_and_none_where_there_is_no_decrease():
    kink = lambda a: Point(a, abs(a - 1), 1.0 if a > 1 else -1.0)
    found = strong_wolfe(kink, kink(0.0), 5.0)
    assert 0.9 < found.step < 1.1 and found.value < 0.1
    assert strong_wolfe(lambda a: Point(a, a, -1.0), Point(0.0, 0.0, -1.0), 1.0) is None


def test_line_search_goes_by_slopes_where_the_values_are_rounding():
    noise = np.random.default_rng(1)
    phi = lambda a: Point(a, 1 + 1e-12 * noise.uniform(), 1e-9 * (a - 1))
    for first in 1e-3, 1.0, 30.0:
        found = strong_wolfe(phi, phi(0.0), first, c2=0.01, rounding=1e-8)
        assert abs(found.slope) <= 0.01 * 1e-9


# L-BFGS


@pytest.mark.parametrize("pairs", [0, 1, 2, 5, 10, 25])
@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_two_loop_is_the_dense_update(n, pairs):
    from kanref import spec

    rng = np.random.default_rng(n + 100 * pairs)
    root = rng.normal(size=(n, n))
    hessian = root @ root.T + np.eye(n)
    S = rng.normal(size=(pairs, n))
    Y = S @ hessian
    gradient = rng.normal(size=n)
    before = gradient.copy()
    expected = spec.lbfgs_direction(gradient, list(S), list(Y))
    direction = two_loop(gradient, S, Y)
    assert_allclose(direction, expected, rtol=1e-10, atol=1e-12 * abs(expected).max())
    if pairs:  # the secant equation of the newest pair, H y = s
        assert_allclose(two_loop(Y[-1], S, Y), -S[-1], rtol=0, atol=1e-11 * abs(S[-1]).max())
    assert_array_equal(gradient, before)


@problems
def test_strong_wolfe_holds_at_every_step_but_where_values_are_rounding(name):
    objective, start = PROBLEMS[name]
    path = []
    lbfgs(objective, start, steps=300, callback=lambda state: path.append(state.theta))
    first = abs(objective(start)[0])
    replaced = 0
    for before, after in zip(path, path[1:], strict=False):
        (f0, g0), (f1, g1) = objective(before), objective(after)
        slope0, slope1 = g0 @ (after - before), g1 @ (after - before)
        # after - before is rounded: its slopes are known to eps |g||theta|
        blur = 8 * EPS * max(abs(g0) @ abs(after), abs(g1) @ abs(after))
        assert abs(slope1) <= -0.9 * slope0 + blur
        if f1 > f0 + 1e-4 * slope0 + blur:
            replaced += 1
            assert abs(f1 - f0) <= EPS**0.5 * f0 + 10 * EPS * (f0 * first) ** 0.5
            assert slope1 <= (2e-4 - 1) * slope0 + blur
    assert len(path) > 4 and replaced <= 0.1 * len(path)


def test_as_few_evaluations_as_scipy_for_the_same_minima():
    ratios = []
    for name, (objective, start) in PROBLEMS.items():
        options = {"maxcor": 10, "ftol": 0, "gtol": 1e-7, "maxiter": 3000, "maxfun": 9000}
        peer = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
        ours = lbfgs(objective, start, steps=3000, gradient_tolerance=1e-7)
        assert ours.reason is Stop.GRADIENT and ours.gradient_norm <= 1e-7, name
        assert ours.value <= peer.fun + 1e-9 * (1 + abs(peer.fun)), name
        ratios.append(ours.evaluations / peer.nfev)
    assert np.median(ratios) <= 1.2


def test_lbfgs_fits_go_down_to_rounding_in_one_run():
    for seed in 0, 1, 7:
        residuals, start = spline_network(seed)
        result = lbfgs(squares(residuals), start, steps=4000, gradient_tolerance=0)
        assert result.history.value[0] > 1e-3 and result.value < 1e-28
        assert result.reason is Stop.ROUNDING and result.converged


def test_lbfgs_resolves_a_minimum_that_the_values_cannot():
    diagonal = np.logspace(0, 3, 20)
    result = lbfgs(quadratic(diagonal, offset=1e3), np.ones(20), steps=500)
    assert result.reason is Stop.GRADIENT and result.gradient_norm <= 1e-10
    # a change of theta by 1e-6 would not show in a value of 1e3
    assert abs(result.theta).max() < 1e-10


def test_lbfgs_ends_at_rounding_and_returns_the_last_iterate_with_progress():
    objective, start = PROBLEMS["logistic regression"]
    result = lbfgs(objective, start, steps=5000, gradient_tolerance=0)
    assert result.reason is Stop.ROUNDING and result.steps < 500
    (place,) = np.flatnonzero(result.history.gradient_norm == result.gradient_norm)
    assert 0 < result.steps - place <= 20 and result.gradient_norm < 1e-14


def test_lbfgs_takes_nan_and_infinity_for_too_far():
    def barrier(x):
        with np.errstate(all="ignore"):
            return float(x.sum() - 1e-3 * np.log(1 - x**2).sum()), 1 + 2e-3 * x / (1 - x**2)

    result = lbfgs(barrier, np.zeros(5), steps=200)
    assert result.reason is Stop.GRADIENT
    assert_allclose(result.theta, 1e-3 - (1 + 1e-6) ** 0.5)

    def wall(x):
        return (0.5 * float(x @ x), x.copy()) if x[0] > -1 else (inf, np.full(2, nan))

    assert lbfgs(wall, np.array([1e3, 1e-3]), steps=100).reason is Stop.GRADIENT


def test_lbfgs_makes_progress_on_kinks_and_stops_honestly():
    weights = np.linspace(1, 5, 8)

    def objective(x):
        return float(weights @ abs(x - 1)), weights * np.sign(x - 1)

    result = lbfgs(objective, np.arange(8.0) + 0.3, steps=400)
    assert result.value < 0.2 * result.history.value[0]
    assert result.reason in (Stop.LINE_SEARCH, Stop.STEPS) and not result.converged


def test_lbfgs_skips_pairs_without_curvature():
    def concave_then_bounded(x):
        return float(np.cos(x).sum()), -np.sin(x)

    start = np.full(3, 0.01)
    result = lbfgs(concave_then_bounded, start, steps=50)
    assert result.reason is Stop.GRADIENT
    assert_allclose(result.value, -3)

    seen = []  # linear: y = 0 for ever, so that every step goes along -g
    lbfgs(lambda x: (float(x.sum()), np.ones(2)), np.array([0.0, 0.0]), steps=5,
          callback=lambda state: seen.append(state.theta))
    assert len(seen) == 6
    for theta in seen[1:]:
        assert theta[0] == theta[1] < 0


def test_lbfgs_starts_gently_next_to_a_minimum():
    diagonal = np.logspace(0, 4, 30)
    start = np.full(30, 1e-9)
    result = lbfgs(quadratic(diagonal), start, steps=1, gradient_tolerance=0)
    assert result.evaluations <= 4 and result.history.value[1] < result.history.value[0]
    assert np.linalg.norm(result.theta - start) < 1e-7


def test_a_wrong_gradient_is_not_called_convergence():
    def objective(x):
        return 0.5 * float(x @ x), -x

    result = lbfgs(objective, np.ones(3), steps=50)
    assert result.reason is Stop.LINE_SEARCH and not result.converged
    assert "Taylor test" in result.reason.value and "steepest descent" in result.reason.value
    result = levenberg_marquardt(lambda x: (x, -np.eye(3)), np.ones(3), steps=50)
    assert result.reason is Stop.DAMPING and not result.converged
    assert_array_equal(result.theta, np.ones(3))


def test_float32_stays_float32_and_converges():
    for name in "rosenbrock 2", "wood", "broyden tridiagonal":
        residuals, start = RESIDUALS[name]

        def single(x, residuals=residuals):
            r, J = residuals(x)
            return r.astype(np.float32), J.astype(np.float32)

        theta = np.array(start, np.float32)
        for result in (
            lbfgs(squares(single), theta, steps=500, gradient_tolerance=0),
            levenberg_marquardt(single, theta, steps=200, gradient_tolerance=0),
        ):
            assert result.theta.dtype == np.float32 and result.converged
            assert result.value < 1e-10


# Levenberg-Marquardt


def operator(residuals):
    """The same residuals with a Jacobian that can only be applied."""

    def matrix_free(x):
        r, J = residuals(x)
        forward, adjoint = lambda v: J @ v, lambda w: J.T @ w
        return r, LinearOperator(J.shape, matvec=forward, rmatvec=adjoint, dtype=float)

    return matrix_free


FORMS = {
    "dense": lambda residuals: residuals,
    "operator": operator,
    "sparse": lambda residuals: lambda x: (residuals(x)[0], csr_array(residuals(x)[1])),
}
forms = pytest.mark.parametrize("form", FORMS)


@forms
@pytest.mark.parametrize("name", RESIDUALS)
def test_levenberg_marquardt_reaches_rounding(name, form):
    residuals, start = RESIDUALS[name]
    result = levenberg_marquardt(FORMS[form](residuals), np.array(start), steps=100)
    assert result.converged and result.evaluations <= 120
    singular = name.startswith("powell")  # at the minimum: linear convergence only
    assert result.value <= (1e-18 if singular else 1e-25)
    r, J = residuals(result.theta)
    assert_allclose(result.value, 0.5 * r @ r)
    assert_allclose(result.gradient_norm, abs(J.T @ r).max())
    assert (np.diff(result.history.value) <= 1e-14 * result.history.value[0]).all()


@forms
def test_levenberg_marquardt_leaves_parameters_without_effect_alone(form):
    basis = spline_basis(np.linspace(-1, 0.1, 80), 10, -1, 1)  # four functions see no point
    basis = np.hstack([basis, basis[:, :3]])  # and three columns come twice
    assert (basis == 0).all(axis=0).sum() == 4
    coefficients = np.sin(np.arange(16.0))
    y = basis @ coefficients
    start = np.full(16, 0.5)
    result = levenberg_marquardt(
        FORMS[form](lambda c: (basis @ c - y, basis)), start, steps=60, gradient_tolerance=0
    )
    assert result.converged and result.value < 1e-28
    assert_array_equal(result.theta[(basis == 0).all(axis=0)], 0.5)


@forms
def test_levenberg_marquardt_fits_spline_networks_to_rounding(form):
    for seed in range(8):
        residuals, start = spline_network(seed)
        result = levenberg_marquardt(FORMS[form](residuals), start, steps=60, gradient_tolerance=0)
        assert result.history.value[0] > 1e-4
        assert result.reason is Stop.ROUNDING and result.value < 1e-28


def test_levenberg_marquardt_damping_follows_the_gain_ratio():
    trusted = levenberg_marquardt(*RESIDUALS["booth"], steps=4, damping=0.5, gradient_tolerance=0)
    gradient = -np.array([17.0, 19.0])
    curvature = np.sum((booth(np.zeros(2))[1] @ gradient) ** 2) / np.sum(gradient**2)
    assert_allclose(trusted.history.rate[1:], 0.5 * curvature * 0.1 ** np.arange(4))  # ratio 1

    residuals, start = RESIDUALS["rosenbrock 2"]
    path = []
    run = levenberg_marquardt(residuals, start, steps=10, callback=lambda s: path.append(s.theta))
    for i in range(1, 10):
        (r0, J0), (r1, _) = residuals(path[i - 1]), residuals(path[i])
        model = r0 + J0 @ (path[i] - path[i - 1])
        ratio = (r0 @ r0 - r1 @ r1) / (r0 @ r0 - model @ model)
        factor = max(0.1, 1 - (2 * ratio - 1) ** 3)
        rejected = run.history.evaluations[i + 1] - run.history.evaluations[i] - 1
        factor *= 2.0 ** (rejected * (rejected + 1) // 2)  # times 2, 4, 8, ...
        assert_allclose(run.history.rate[i + 1] / run.history.rate[i], factor, rtol=1e-6)
    assert run.evaluations > run.steps + 1


@forms
def test_levenberg_marquardt_knows_when_it_starts_at_the_end(form):
    residuals, start = spline_network(2)
    residuals = FORMS[form](residuals)
    first = levenberg_marquardt(residuals, start, steps=60, gradient_tolerance=0)
    again = levenberg_marquardt(residuals, first.theta, steps=60, gradient_tolerance=0)
    assert again.reason is Stop.ROUNDING and again.evaluations < 10
    assert again.value <= first.value < 1e-28


def test_levenberg_marquardt_with_more_parameters_than_residuals():
    J = np.random.default_rng(2).normal(size=(5, 12))
    for form in FORMS.values():
        result = levenberg_marquardt(form(lambda x: (J @ x - 1, J)), np.zeros(12), steps=50)
        assert result.converged and result.value < 1e-26
        # from 0 the steps stay in the row space: the solution of least norm
        assert_allclose(result.theta, np.linalg.pinv(J) @ np.ones(5), rtol=1e-9, atol=1e-12)


def test_levenberg_marquardt_resolves_a_minimum_that_the_values_cannot():
    rng = np.random.default_rng(4)
    A, y = rng.normal(size=(40, 4)), 1e3 * rng.normal(size=40)
    curve = lambda x: (A @ x + 1e-3 * np.sin(A @ x) - y, A * (1 + 1e-3 * np.cos(A @ x))[:, None])
    result = levenberg_marquardt(curve, np.zeros(4), steps=100)
    assert result.converged and result.value > 1e6
    assert result.gradient_norm < 1e-8  # |J'||r| is 1e5: thirteen digits


def test_levenberg_marquardt_shortens_steps_over_residuals_that_are_not_finite():
    def residuals(x):
        with np.errstate(all="ignore"):
            return np.log(x) + 3, np.diag(1 / x)

    result = levenberg_marquardt(residuals, np.array([5.0, 0.1]), steps=60, damping=0)
    assert result.converged
    assert_allclose(result.theta, np.exp(-3))

    def nowhere(x):
        return (x + 1, np.eye(2)) if (x == 1).all() else (np.full(2, nan), np.eye(2))

    result = levenberg_marquardt(nowhere, np.ones(2), steps=9)
    assert (result.reason, result.steps) == (Stop.DAMPING, 0) and result.evaluations < 30


# What all methods share


@methods
def test_callbacks_see_every_step_and_can_stop(method):
    objective, start, value_at = problem_for(method)
    states = []
    result = METHODS[method](objective, start, steps=12, callback=states.append)
    assert [state.step for state in states] == list(range(result.steps + 1))
    assert states[0].rate == 0 and all(state.rate > 0 for state in states[1:])
    for i, state in enumerate(states):
        assert isinstance(state, State)
        assert_allclose(state.value, value_at(state.theta))  # not a buffer that went on
        for column in "value", "gradient_norm", "rate", "evaluations":
            assert getattr(result.history, column)[i] == getattr(state, column)
    assert 0 <= states[0].seconds <= states[-1].seconds
    assert_array_equal(states[0].theta, start)

    stopped = METHODS[method](objective, start, steps=12, callback=lambda state: state.step == 3)
    assert (stopped.reason, stopped.steps, stopped.converged) == (Stop.CALLBACK, 3, False)
    assert_array_equal(stopped.history.value, result.history.value[:4])


@methods
def test_a_callback_may_spoil_its_theta(method):
    objective, start, _ = problem_for(method)
    spoil = lambda state: state.theta.fill(nan)
    plain = METHODS[method](objective, start, steps=9)
    spoilt = METHODS[method](objective, start, steps=9, callback=spoil)
    assert_array_equal(plain.theta, spoilt.theta)


class Interrupting:
    """An objective that raises KeyboardInterrupt at its k-th call."""

    def __init__(self, objective, k):
        self.objective, self.k, self.values = objective, k, []

    def __call__(self, theta):
        if len(self.values) + 1 == self.k:
            raise KeyboardInterrupt
        pair = self.objective(theta)
        self.values.append(pair[0])
        return pair


@methods
@pytest.mark.parametrize("k", [2, 3, 4, 5, 9, 14])
def test_an_interrupt_in_the_objective_returns_the_best_so_far(method, k):
    objective, start, value_at = problem_for(method)
    interrupting = Interrupting(objective, k)
    result = METHODS[method](interrupting, start, steps=100)
    assert result.reason is Stop.INTERRUPTED and result.evaluations == k - 1
    assert_allclose(result.value, value_at(result.theta))
    assert result.value <= result.history.value.min()
    if method == "adam":
        assert result.value == min(interrupting.values)


def test_an_interrupt_in_a_line_search_returns_its_lowest_point():
    values = []

    def objective(x):  # the first two trials are too short, the third never comes
        if len(values) == 3:
            raise KeyboardInterrupt
        values.append(float(x[0]))
        return float(x[0]), np.ones(1)

    result = lbfgs(objective, np.ones(1), steps=9, c2=0.5)
    assert (result.steps, result.reason) == (0, Stop.INTERRUPTED)
    assert result.value == result.theta[0] == values[2] < values[1] < values[0]


@methods
def test_an_interrupt_before_anything_is_known_passes(method):
    objective, start, _ = problem_for(method)
    with pytest.raises(KeyboardInterrupt):
        METHODS[method](Interrupting(objective, 1), start, steps=5)


@methods
@pytest.mark.parametrize("k", [0, 1, 5])
def test_an_interrupt_in_the_callback(method, k):
    def callback(state):
        if state.step == k:
            raise KeyboardInterrupt

    objective, start, value_at = problem_for(method)
    result = METHODS[method](objective, start, steps=20, callback=callback)
    assert (result.reason, result.steps) == (Stop.INTERRUPTED, k)
    assert_allclose(result.value, value_at(result.theta))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@methods
def test_an_interrupt_at_any_moment_finds_a_consistent_iterate(method):
    residuals, start = spline_network(1, target=lambda x: np.exp(x[:, 0] * x[:, 1]))
    objective = residuals if method == "levenberg_marquardt" else squares(residuals)

    def interrupt(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        for milliseconds in np.linspace(5, 30, 12):
            timer = lambda state, m=milliseconds: (
                signal.setitimer(signal.ITIMER_REAL, m / 1000) and None if state.step == 0 else None
            )
            options = {} if method == "adam" else {"gradient_tolerance": 0}
            result = METHODS[method](objective, start, steps=10**6, callback=timer, **options)
            signal.setitimer(signal.ITIMER_REAL, 0)
            value, gradient = squares(residuals)(result.theta)
            half = 0.5 if method == "levenberg_marquardt" else 1.0
            assert_allclose(result.value, half * value)
            assert_allclose(result.gradient_norm, half * abs(gradient).max())
            assert result.reason is Stop.INTERRUPTED or result.converged
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@methods
def test_the_same_bits_twice(method):
    objective, start, _ = problem_for(method, "broyden tridiagonal")
    one, two = (METHODS[method](objective, start, steps=30) for _ in range(2))
    assert one.theta.tobytes() == two.theta.tobytes()
    for name in "value", "gradient_norm", "rate", "evaluations":
        assert_array_equal(getattr(one.history, name), getattr(two.history, name))


@methods
def test_buffers_may_be_reused_by_the_objective(method):
    objective, start, _ = problem_for(method)
    buffers = [np.empty_like(np.asarray(part)) for part in objective(start)]

    def reusing(theta):
        for buffer, part in zip(buffers, objective(theta), strict=True):
            buffer[...] = part
        return (buffers[0] if buffers[0].ndim else float(buffers[0])), buffers[1]

    expected = METHODS[method](objective, start, steps=15)
    assert_array_equal(METHODS[method](reusing, start, steps=15).theta, expected.theta)


@methods
def test_the_start_is_not_changed_and_no_steps_give_it_back(method):
    objective, start, value_at = problem_for(method)
    kept = start.copy()
    METHODS[method](objective, start, steps=3)
    assert_array_equal(start, kept)
    result = METHODS[method](objective, start, steps=0)
    assert (result.steps, result.evaluations, result.reason) == (0, 1, Stop.STEPS)
    assert_array_equal(result.theta, kept)
    assert result.theta is not start and result.value == value_at(start)


@methods
def test_budgets(method):
    objective, start, _ = problem_for(method)
    run = METHODS[method]
    result = run(objective, start, steps=5)
    assert (result.steps, result.reason, len(result.history)) == (5, Stop.STEPS, 6)
    result = run(objective, start, steps=5, seconds=0)
    assert (result.evaluations, result.reason) == (1, Stop.SECONDS)
    assert_array_equal(result.theta, start)
    if method == "lbfgs":
        for budget in range(1, 9):
            result = run(objective, start, steps=100, evaluations=budget)
            assert (result.evaluations, result.reason) == (budget, Stop.EVALUATIONS)
            assert result.value == objective(result.theta)[0] <= result.history.value.min()
    if method != "adam":
        result = run(objective, start, steps=100, value_tolerance=0.5)
        assert result.reason is Stop.VALUE and result.converged
        values = result.history.value
        assert values[-1] >= 0.5 * values[-2] and (values[1:-1] < 0.5 * values[:-2]).all()
        result = run(objective, start, steps=100, gradient_tolerance=1.0)
        norms = result.history.gradient_norm
        assert result.reason is Stop.GRADIENT and norms[-1] <= 1 < norms[:-1].min()


def test_every_reason_is_a_sentence_of_its_own():
    messages = [stop.value for stop in Stop]
    assert len(set(messages)) == len(messages)
    for message in messages:
        assert message[0].isupper() and message.endswith(".") and "  " not in message


def test_results_are_frozen_and_print_the_outcome():
    result = lbfgs(*PROBLEMS["booth"], steps=20)
    assert isinstance(result, Result)
    with pytest.raises(FrozenInstanceError):
        result.value = 0.0
    text = repr(result)
    assert text.startswith("Result(converged [GRADIENT]: value ")
    assert f"{result.evaluations} evaluations, 2 parameters)" in text
    assert text.endswith(Stop.GRADIENT.value)
    assert "not converged [STEPS]" in repr(lbfgs(*PROBLEMS["wood"], steps=2))


def sphere(x):
    return float(x @ x), 2 * x


def wrong(**options):
    return lambda: METHODS[options.pop("method", "lbfgs")](
        options.pop("objective", sphere), options.pop("theta", np.ones(3)), **{"steps": 3} | options
    )


@pytest.mark.parametrize(
    "call, error, message",
    [
        (wrong(theta=np.arange(3)), TypeError, r"float64 or float32, got int64; .*astype\(float\)"),
        (wrong(theta=np.ones(3, complex)), TypeError, "float64 or float32, got complex128"),
        (wrong(theta=np.ones((2, 2))), ValueError, r"one flat vector.*got shape \(2, 2\).*ravel"),
        (wrong(theta=np.ones(0)), ValueError, r"not empty, got shape \(0,\)"),
        (wrong(theta=np.array([1, nan])), ValueError, "must be finite, got nan at index 1"),
        (wrong(objective=3), TypeError, r"must be callable, theta -> \(value, gradient\), got 3"),
        (wrong(objective=lambda x: 1.0), TypeError, r"must return \(value, gradient\), got float"),
        (wrong(objective=lambda x: (1.0, x[:2])), ValueError, r"\(3,\), got float64 .* \(2,\)"),
        (wrong(objective=lambda x: (1.0, 1j * x)), ValueError, "floating gradient.*got complex128"),
        (wrong(objective=lambda x: (x, x)), TypeError, r"one number.*shape \(3,\); sum or average"),
        (wrong(objective=lambda x: (nan, x)), ValueError, "finite at the start, got value nan"),
        (wrong(objective=lambda x: (1.0, x * inf)), ValueError, "largest gradient component inf"),
        (wrong(steps=-1), ValueError, "steps must be at least 0, got -1"),
        (wrong(steps=1.5), TypeError, "steps must be a whole number, got 1.5"),
        (wrong(seconds=-1), ValueError, "seconds must be at least 0 and less than inf, got -1"),
        (wrong(evaluations=0), ValueError, "evaluations must be at least 1, got 0"),
        (wrong(callback=1), TypeError, "callback must be callable, State -> bool, got 1"),
        (wrong(history=0), ValueError, "history must be at least 1, got 0"),
        (wrong(c1=0.9, c2=0.1), ValueError, "0 < c1 < c2 < 1, got c1 = 0.9, c2 = 0.1"),
        (wrong(gradient_tolerance=-1), ValueError, "gradient_tolerance must be at least 0"),
        (wrong(value_tolerance="a"), ValueError, "could not convert"),
        (wrong(value_tolerance=None), TypeError, "value_tolerance must be a number, got None"),
        (wrong(method="adam", rate=-0.1), ValueError, "rate must be finite and not negative.*-0.1"),
        (wrong(method="adam", rate=np.ones(2)), ValueError, r"\(3,\), got shape \(2,\)"),
        (wrong(method="adam", rate=lambda t: -t), ValueError, "not negative, got entries from -1"),
        (wrong(method="adam", rate=lambda t: nan), ValueError, "finite and not negative.* nan"),
        (wrong(method="adam", beta1=1), ValueError, "beta1 must be.*less than 1, got 1"),
        (wrong(method="adam", keep="first"), ValueError, "\"best\" or \"last\", got 'first'"),
        (
            wrong(method="levenberg_marquardt", objective=lambda x: (x, np.eye(2))),
            ValueError,
            r"\(residuals, parameters\) = \(3, 3\).*got ndarray of shape \(2, 2\)",
        ),
        (
            wrong(method="levenberg_marquardt", objective=lambda x: (x[None], np.eye(3))),
            ValueError,
            r"floating vector r, got float64 of shape \(1, 3\)",
        ),
        (
            wrong(method="levenberg_marquardt", objective=lambda x: (x * nan, np.eye(3))),
            ValueError,
            "residuals must be finite at the start, got value nan",
        ),
        (
            wrong(method="levenberg_marquardt", damping=-1.0),
            ValueError,
            "damping must be at least 0 and less than inf, got -1",
        ),
    ],
)
def test_bad_input_is_refused_with_a_message(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_operator_and_its_matrix_take_the_same_first_step():
    residuals, start = spline_network(3)
    free = lambda x: (residuals(x)[0], aslinearoperator(residuals(x)[1]))
    dense, free = (levenberg_marquardt(f, start, steps=1) for f in (residuals, free))
    assert_allclose(free.history.rate, dense.history.rate, rtol=1e-12)
    # (J'J + mu) p is g up to 1e-6 |g|, hence p is right up to 1e-6 |g| / mu
    r, J = residuals(start)
    bound = 1e-6 * np.linalg.norm(J.T @ r) / dense.history.rate[1]
    assert 0 < np.linalg.norm(free.theta - dense.theta) <= bound


def test_levenberg_marquardt_gives_the_same_bits_for_any_number_of_threads():
    """QR of a few hundred columns is where BLAS libraries begin to share, and to round otherwise."""
    code = (
        "import numpy as np; from kanref.optimize import levenberg_marquardt;"
        "rng = np.random.default_rng(0); A, b = rng.normal(size=(1200, 260)), rng.normal(size=1200);"
        "f = lambda t: (np.tanh(A @ t / 16) - b, A * (1 - np.tanh(A @ t / 16)[:, None] ** 2) / 16);"
        "print(levenberg_marquardt(f, np.zeros(260), steps=4).theta.tobytes().hex())"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]
    assert found[0] == found[1]


def test_the_number_of_blas_threads_is_as_before():
    from threadpoolctl import threadpool_info

    counts = lambda: [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    before = counts()
    levenberg_marquardt(lambda t: (t - 1, np.eye(3)), np.zeros(3), steps=3)
    assert counts() == before


def test_adam_goes_on_from_its_moments():
    """Ten steps, and five and five with the moments handed on, end in the same bits; without them they do not."""
    rng = np.random.default_rng(3)
    A, b, start = rng.normal(size=(9, 6)), rng.normal(size=9), rng.normal(size=6)
    objective = lambda theta: (float(np.square(A @ theta - b).sum()), 2 * A.T @ (A @ theta - b))
    run = lambda theta, steps, **options: adam(objective, theta, steps=steps, rate=0.1, keep="last", **options)
    whole, half = run(start, 10), run(start, 5)
    again = run(half.theta, 5, moments=half.moments)
    assert np.array_equal(again.theta, whole.theta) and again.moments[2] == 10
    assert np.abs(run(half.theta, 5).theta - whole.theta).max() > 1e-3
    with pytest.raises(ValueError, match=r"moments must be \(m, v, t\)"):
        run(start, 1, moments=(half.moments[0][:3], half.moments[1], 5))
    rates = []
    adam(objective, half.theta, steps=3, rate=lambda step: rates.append(step) or 0.1, moments=half.moments)
    assert rates == [0, 1, 2]
    with pytest.raises(ValueError, match=r"finite m and with v >= 0.* m from nan"):
        run(start, 1, moments=(np.nan * start, half.moments[1], 5))
    for wrong in (half.moments[:2], 3):
        with pytest.raises(TypeError, match=r"moments must be \(m, v, t\) of an earlier result.*pass result.moments"):
            run(start, 1, moments=wrong)
