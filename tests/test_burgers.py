"""Burgers' equation: the reference solves it by three roads, residual and partials agree, hard conditions hold."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import jets, objectives
from kanref.check import check_objective
from kanref.network import kan
from kanref.pde.burgers import burgers, cole_hopf, distance, offset

POINTS = np.array([(0.3, 1.0), (-0.7, 0.4), (0.01, 0.5), (-0.003, 0.35), (0.95, 0.05), (0.5, 1e-3), (-0.25, 0.0), (0.0, 0.6)])


def fourier_bessel(x, t, nu):
    """u = -2 nu f_x/f with the heat solution f = sum_n c_n exp(-(n pi)^2 nu t) cos(n pi x) that starts at
    exp(-cos(pi x)/(2 pi nu)); its coefficients are modified Bessel functions (Abramowitz and Stegun 9.6.34)."""
    with mpmath.workdps(80):
        x, t, nu = map(mpmath.mpf, (x, t, nu))
        z = -1 / (2 * mpmath.pi * nu)
        f, slope = mpmath.besseli(0, z), mpmath.mpf(0)
        for n in range(1, 200):
            c = 2 * mpmath.besseli(n, z) * mpmath.exp(-((n * mpmath.pi) ** 2) * nu * t)
            f += c * mpmath.cos(n * mpmath.pi * x)
            slope -= c * n * mpmath.pi * mpmath.sin(n * mpmath.pi * x)
        return float(-2 * nu * slope / f)


@pytest.mark.parametrize("nu", [5.0, 1.0, 0.1, 0.01, 0.01 / np.pi])
def test_the_reference_is_the_fourier_series(nu):
    exact = [fourier_bessel(x, t, nu) for x, t in POINTS]
    assert_allclose(burgers(nu).reference(POINTS), exact, rtol=0, atol=1e-14)


@pytest.mark.parametrize("nu, modes, steps", [(0.05, 128, 500), (0.01, 1024, 2500)])
def test_the_reference_is_what_time_stepping_gives(nu, modes, steps):
    """Fourier collocation with exact diffusion and the classical Runge-Kutta rule for the rest, no Cole-Hopf in it."""
    x, T = np.arange(modes) * 2 / modes - 1, 0.5
    k, h = np.pi * np.arange(modes // 2 + 1), T / steps
    half = np.exp(-nu * k**2 * h / 2)
    convection = lambda v: -0.5j * k * np.fft.rfft(np.fft.irfft(v) ** 2) * (k < 2 / 3 * k[-1])
    v = np.fft.rfft(-np.sin(np.pi * x))
    for _ in range(steps):
        a = convection(v)
        b = convection(half * (v + h / 2 * a))
        c = convection(half * v + h / 2 * b)
        d = convection(half**2 * v + h * half * c)
        v = half**2 * v + h / 6 * (half**2 * a + 2 * half * (b + c) + d)
    assert_allclose(np.fft.irfft(v), cole_hopf(np.column_stack([x, np.full(modes, T)]), nu), rtol=0, atol=1e-9)


def test_the_reference_meets_the_conditions():
    problem = burgers()
    points = problem.points({"initial": 64, "left": 16, "right": 16})
    x = points["initial"]
    assert_allclose(problem.reference(x), -np.sin(np.pi * x[:, 0]), rtol=0, atol=1e-15)
    assert_allclose(problem.reference(np.vstack([points["left"], points["right"]])), 0, atol=1e-14)
    assert (x[:, 1] == 0).all() and (points["left"][:, 0] == -1).all() and (points["right"][:, 0] == 1).all()
    x = np.random.default_rng(0).uniform(0, 1, (50, 2))
    assert_allclose(problem.reference(x * [-1, 1]), -problem.reference(x), atol=1e-14)


def test_the_residual_vanishes_at_the_reference():
    """Derivatives by differences of fourth order."""
    nu, h = 0.05, 2e-3
    x = np.random.default_rng(1).uniform([-0.9, 0.1], [0.9, 0.9], (40, 2))
    shifted = lambda axis, steps: cole_hopf(x + steps * h * np.eye(2)[axis], nu)
    u = cole_hopf(x, nu)
    first = lambda a: (8 * (shifted(a, 1) - shifted(a, -1)) - shifted(a, 2) + shifted(a, -2)) / (12 * h)
    second = (16 * (shifted(0, 1) + shifted(0, -1)) - shifted(0, 2) - shifted(0, -2) - 30 * u) / (12 * h**2)
    u_ij = np.zeros((len(x), 1, 2, 2))
    u_ij[:, 0, 0, 0] = second
    r, _ = burgers(nu).parts[0].residual(x, u[:, None], np.stack([first(0), first(1)], 1)[:, None], u_ij)
    assert np.abs(second).max() > 30  # what nu multiplies
    assert_allclose(r, 0, atol=2e-5)


@pytest.mark.parametrize("hard", [False, True])
def test_the_loss_is_its_parts_and_its_gradient_theirs(hard):
    rng, problem = np.random.default_rng(2), burgers(0.03)
    net = kan([2, 3, 1], intervals=3, degree=4, base=None, outside="linear")
    theta = net.init(1) + 0.1 * rng.normal(size=net.size)
    points = problem.points({"equation": 25, "initial": 5, "left": 4, "right": 4})
    loss = problem.objective(net, points, hard)
    u = problem.function(net, hard)
    value, first, second = (part[..., 0] for part in u.derivatives(theta, points["equation"]))
    mean = np.mean((first[1] + value * first[0] - 0.03 * second[0]) ** 2)
    if not hard:
        x = points["initial"]
        edges = np.vstack([points["left"], points["right"]])
        mean += np.mean((net(theta, x)[:, 0] + np.sin(np.pi * x[:, 0])) ** 2) + np.mean(net(theta, edges) ** 2)
    assert_allclose(loss.value(theta), mean, rtol=1e-12)
    check_objective(loss, theta, rng)


def test_hard_conditions_hold_for_any_network():
    problem = burgers()
    net = kan([2, 2, 1], intervals=2)
    u = problem.function(net, hard=True)
    theta = np.random.default_rng(3).normal(size=net.size)
    points = problem.points({"initial": 9, "left": 5, "right": 5})
    x = points["initial"]
    assert_allclose(u(theta, x)[:, 0], -np.sin(np.pi * x[:, 0]), atol=1e-15)
    assert_allclose(u(theta, np.vstack([points["left"], points["right"]])), 0, atol=1e-15)


@pytest.mark.parametrize("function", [offset, distance])
def test_jets_of_the_trial_function(function):
    """Second derivatives along a slanted direction, against differences."""
    x, v, h = np.random.default_rng(4).uniform(-1, 1, (20, 2)), np.array([0.6, -0.8]), 1e-3
    value, first, second = jets.parts(function(jets.seed(x, v[None])))
    at = lambda step: function((x + step * h * v)[None])[0]
    assert_allclose(value, at(0), atol=1e-15)
    assert_allclose(first[0], (at(1) - at(-1)) / (2 * h), atol=1e-5)
    assert_allclose(second[0], (at(1) - 2 * at(0) + at(-1)) / h**2, atol=1e-4)


def test_weights_of_single_points():
    problem, rng = burgers(), np.random.default_rng(5)
    net = kan([2, 2, 1], intervals=2, degree=4)
    points, theta = problem.points({"equation": 16}, "random"), net.init(0)
    w = rng.uniform(0, 2, 16)
    loss = problem.objective(net, points, weights={"equation": w})
    r = objectives.collocation(net, points["equation"], problem.parts[0].residual, ((0, 0),)).residual_values(theta)
    assert_allclose(loss.value(theta), np.mean(w * r[:, 0] ** 2), rtol=1e-12)


def test_the_reference_for_the_least_viscosity_is_the_inviscid_one_off_the_front():
    """u = -sin(pi y) along characteristics x = y + t u, up to terms of the size of nu u_xx t, before the shock at t = 1/pi."""
    y, t = np.linspace(-0.9, 0.9, 19), 0.2
    u = -np.sin(np.pi * y)
    x = np.column_stack([y + t * u, np.full_like(y, t)])
    errors = [np.abs(cole_hopf(x, nu) - u).max() for nu in (1e-4, 1e-5)]
    assert errors[1] < 1e-3 and errors[0] / errors[1] == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("nu", [0, -1.0, np.nan, 1e-6, 10, np.inf])
def test_viscosity_must_be_one_for_which_the_reference_is_accurate(nu):
    with pytest.raises(ValueError, match=r"nu must lie in \[1e-05, 5\], but it is .*; the reference solution is accurate only"):
        burgers(nu)


def test_there_is_no_time_before_the_start():
    with pytest.raises(ValueError, match="t must be at least 0, but it goes down to -0.5"):
        cole_hopf([[0.0, -0.5]])
