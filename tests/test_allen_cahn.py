"""Allen-Cahn: the reference solves the equation, the loss is its residual, and the hard conditions hold for any network."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import jets
from kanref.check import check_objective
from kanref.network import kan
from kanref.pde.allen_cahn import allen_cahn, begin, initial, layer, solution
from kanref.pde.trial import Trial

EPS, RHO = 1e-4, 5.0
WALLS = np.array([[-1.0, 0.1], [1.0, 0.1], [-1.0, 0.5], [1.0, 1.0]])


def scattered(seed=0, N=4000):
    """Points everywhere, more of them at the fronts, at the ends and at early times."""
    rng = np.random.default_rng(seed)
    x = rng.uniform([-1, 0], [1, 1], (N, 2))
    x[: N // 4, 0] = 1 - np.abs(rng.normal(0, 0.02, N // 4))
    x[: N // 8, 1] = rng.uniform(0, 0.02, N // 8)
    x[-(N // 4) :, 0] = 0.5 + rng.normal(0, 0.01, N // 4)
    return x


@pytest.fixture(scope="module")
def network():
    net = kan([2, 3, 1], intervals=4, degree=5, base=None)
    return net, net.init(0)


@pytest.mark.parametrize("diffusion, reaction", [(EPS, RHO), (1e-2, 5.0), (1e-3, 2.0)])
def test_reference_does_not_change_when_refined(diffusion, reaction):
    x = scattered()
    error = solution(x, diffusion, reaction) - solution(x, diffusion, reaction, refinement=1.5)
    assert np.abs(error).max() < 5e-6 and np.sqrt(np.square(error).mean()) < 1e-6
    assert np.abs(error).max() > 1e-12  # two computations, not one


def test_reference_meets_the_initial_data_and_the_conditions_at_the_ends():
    x = np.linspace(-1, 1, 101)
    assert_allclose(solution(np.stack([x, 0 * x], 1)), initial(x), atol=1e-8)
    h = 1e-5
    inner = WALLS - h * np.sign(WALLS[:, :1]) * [1, 0]
    assert_allclose(solution(WALLS), solution(inner), atol=1e-6)  # slope 2 without the layer: 2e-5


def test_reference_solves_the_equation_by_differences():
    """Second differences and a Runge-Kutta method of third order, on a grid of their own, from u(x, 0.05)."""
    n, T = 1601, (0.05, 0.35)
    x = np.linspace(-1, 1, n)
    at = lambda t: solution(np.stack([x, np.full(n, t)], 1))

    def slope(u):
        wide = np.concatenate([u[1:2], u, u[-2:-1]])  # even about both ends
        return EPS * np.diff(wide, 2) * (n - 1) ** 2 / 4 + RHO * (u - u**3)

    steps, u = 400, at(T[0])
    dt = (T[1] - T[0]) / steps
    for _ in range(steps):
        a = u + dt * slope(u)
        b = (3 * u + a + dt * slope(a)) / 4
        u = (u + 2 * b + 2 * dt * slope(b)) / 3
    assert_allclose(u, at(T[1]), atol=1e-3)
    inside = np.abs(x) < 0.9
    assert_allclose(u[inside], at(T[1])[inside], atol=2e-5)


def test_reference_without_reaction_is_the_heat_equation():
    """u = sum a_k e^(-eps (k pi)^2 t) cos(k pi x) with the cosine coefficients of x^2 cos(pi x), by quadrature."""
    eps, t = 0.01, 0.4
    s, w = np.polynomial.legendre.leggauss(200)
    k = np.arange(60)
    a = (np.cos(np.pi * np.outer(k, s)) @ (w * initial(s))) / np.where(k == 0, 2, 1)
    x = np.linspace(-1, 1, 41)
    exact = np.cos(np.pi * np.outer(x, k)) @ (a * np.exp(-eps * (np.pi * k) ** 2 * t))
    assert_allclose(solution(np.stack([x, np.full(41, t)], 1), eps, 0.0), exact, atol=1e-7)


def test_solution_is_even_and_stays_between_the_stable_states():
    x = scattered(1)
    u = solution(x)
    assert_allclose(solution(x * [-1, 1]), u, rtol=0, atol=0)
    assert np.abs(u).max() <= 1 + 1e-9
    assert solution(np.array([[0.3, 1.0]])) > 0.5 > -0.5 > solution(np.array([[0.6, 1.0]]))


def test_layer_solves_the_heat_equation_and_carries_the_slope():
    x, t, h = np.array([0.9, 0.97, -0.99]), np.array([0.5, 0.2, 0.05]), 1e-4
    eps = 1e-3
    values, after, before = (np.array(layer(y, t, eps, derivatives=4)) for y in (x, x + h, x - h))
    scale = np.abs(values[1:]).max(1, keepdims=True)
    assert_allclose((after - before)[:4] / (2 * h) / scale, values[1:] / scale, atol=1e-3)
    in_time = (layer(x, t + h, eps)[0] - layer(x, t - h, eps)[0]) / (2 * h)
    assert_allclose(in_time, eps * values[2], rtol=1e-4, atol=1e-8)
    assert_allclose(layer(WALLS[:, 0], WALLS[:, 1], eps, 1)[1], 2 * np.sign(WALLS[:, 0]), rtol=1e-12)


def test_begin_is_a_jet():
    """Directions that mix x and t, from points where the layer is strong."""
    eps, h = 1e-3, 1e-4
    x = np.array([[0.95, 0.4], [-0.97, 0.6], [0.2, 0.1], [0.99, 0.9]])
    v = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, -0.8]])
    f = lambda x: begin(jets.seed(x), eps)[0]
    value, first, second = jets.parts(begin(jets.seed(x, v), eps))
    assert_allclose(value, f(x))
    for d, direction in enumerate(v):
        plus, minus = f(x + h * direction), f(x - h * direction)
        assert_allclose(first[d], (plus - minus) / (2 * h), atol=1e-4)
        assert_allclose(second[d], (plus + minus - 2 * value) / h**2, atol=1e-2)


def test_hard_conditions_hold_for_any_network(network):
    net, theta = network
    problem = allen_cahn()
    u = problem.function(net, hard=True)
    assert isinstance(u, Trial) and u.inputs == 2
    x = np.linspace(-1, 1, 21)
    assert_allclose(u(theta, np.stack([x, 0 * x], 1))[:, 0], initial(x), atol=1e-8)
    assert_allclose(u.derivatives(theta, WALLS)[1][0], 0, atol=1e-12)
    y = scattered(2, 50)
    assert_allclose(u(theta, y), u(theta, y * [-1, 1]), atol=1e-14)
    everywhere = np.concatenate([WALLS, [[1.0, 0.0], [-1.0, 0.0]], y])
    equation = problem.parts[0]
    loss = problem.objective(net, {"equation": everywhere}, hard=True)
    assert equation.name == "equation" and np.isfinite(loss(theta)[0]) and np.isfinite(loss(theta)[1]).all()


@pytest.mark.parametrize("hard", [False, True])
def test_loss_is_the_mean_square_of_residuals_and_its_gradient_is_right(network, hard):
    net, theta = network
    problem = allen_cahn(2e-2, 3.0)
    points = problem.points({"equation": 30, "initial": 8, "left": 5, "right": 5}, "random", seed=1)
    loss = problem.objective(net, points, hard)
    u = problem.function(net, hard)
    x = points["equation"]
    value, first, second = u.derivatives(theta, x)
    r = first[1] - 2e-2 * second[0] - 3 * (value - value**3)
    total = 0.1 * np.square(r).mean()
    if not hard:
        y = points["initial"]
        total += np.square(u(theta, y)[:, 0] - y[:, 0] ** 2 * np.cos(np.pi * y[:, 0])).mean()
        total += sum(np.square(u.derivatives(theta, points[end])[1][0]).mean() for end in ("left", "right"))
    assert_allclose(loss.value(theta), total, rtol=1e-10)
    check_objective(loss, theta, np.random.default_rng(2))


def test_the_sign_that_is_printed_is_ill_posed():
    """Of u_t = -eps u_xx + ..., mode k of a perturbation would grow like e^(eps (k pi)^2 t); here the reference damps it."""
    x = scattered(3, 500)
    h = 2e-4
    inside = (np.abs(np.abs(x[:, 0]) - 0.5) < 0.05) & (x[:, 1] > 0.3) & (x[:, 1] < 0.99)
    x = x[inside]
    u = solution
    u_t = (u(x + [0, h]) - u(x - [0, h])) / (2 * h)
    u_xx = (u(x + [h, 0]) + u(x - [h, 0]) - 2 * u(x)) / h**2
    reaction = RHO * (u(x) - u(x) ** 3)
    assert np.abs(u_t - EPS * u_xx - reaction).max() < 0.02 * np.abs(u_t + EPS * u_xx + reaction).max()


@pytest.mark.parametrize("name, value", [("diffusion", 0.0), ("diffusion", -1e-4), ("reaction", 100.0)])
def test_parameters_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} must lie in"):
        allen_cahn(**{name: value})
