"""The PINN toolkit: every problem is consistent, points lie where they should, weights follow the residuals."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import kanref.pde
from kanref import jets, optimize
from kanref.check import DIFFERENCE, cases, check_objective, difference, four_checks, relative
from kanref.multilevel.nested import least_squares
from kanref.network import kan
from kanref.pde import PROBLEMS, helmholtz, reaction_diffusion, sampling
from kanref.pde.poisson import poisson, solution, source
from kanref.pde.problem import Part, Problem, dirichlet
from kanref.pde.trial import Trial, cap
from kanref.pde.weighting import Attention, Causal, held

CASES = {
    "poisson": {},
    "poisson, family": {"frequency": 2, "power": 1, "contrast": 0.5},
    "helmholtz": {},
    "helmholtz, long waves": {"wave_number": 2.5},
    "heat": {},
    "heat, fast": {"diffusivity": 0.3},
    "reaction_diffusion": {},
    "reaction_diffusion, slow": {"diffusion": 0.05, "reaction": 2.0},
}
problems = pytest.mark.parametrize("case", CASES)
all_problems = pytest.mark.parametrize("case", [*CASES, *(name for name in PROBLEMS if name not in CASES)])


def made(case):
    return PROBLEMS[case.split(",")[0]](**CASES.get(case, {}))


def inside(problem, count, margin, seed=0):
    """Random points of the box, away from its sides."""
    low, high = np.array(problem.domain).T
    return np.random.default_rng(seed).uniform(low + margin, high - margin, (count, len(low)))


def seventh(f, h, order):
    """f' or f'' at 0 by central differences with seven points, errors of order h^6."""
    weights = {1: (-1, 9, -45, 0, 45, -9, 1), 2: (2, -27, 270, -490, 270, -27, 2)}[order]
    return sum(w * f(k * h) for k, w in zip(range(-3, 4), weights)) / ({1: 60, 2: 180}[order] * h**order)


def as_fields(f, x, h=5e-3):
    """x, u, u_i, u_ij of a function of points (N, n) -> (N,), by differences."""
    along = lambda e: lambda t: f(x + t * e)
    e = np.eye(x.shape[1])
    u_i = np.stack([seventh(along(v), h, 1) for v in e], -1)
    u_ij = np.full((*u_i.shape, len(e)), np.nan)
    for i, v in enumerate(e):
        u_ij[:, i, i] = seventh(along(v), h, 2)
    return x, f(x)[:, None], u_i[:, None], u_ij[:, None]


# ------------------------------------------------------------------------------------------------------ every problem


@problems
def test_the_reference_solves_the_equation(case):
    """By differences of the reference, relative to the largest term."""
    problem = made(case)
    fields = as_fields(problem.reference, inside(problem, 40, 0.03))
    r = problem.parts[0].residual(*fields)[0]
    size = np.nanmax([np.abs(fields[2]).max(), *(np.abs(fields[3][:, 0, i, i]).max() for i in range(2))])
    assert np.abs(r).max() < 1e-5 * size


@problems
def test_the_reference_meets_the_conditions(case):
    problem = made(case)
    counts = {part.name: 40 for part in problem.parts[1:]}
    for part in problem.parts[1:]:
        x = problem.points(counts)[part.name]
        u = problem.reference(x)[:, None]
        r = part.residual(x, u, np.zeros((40, 1, 2)), np.zeros((40, 1, 2, 2)))[0]
        assert_allclose(r, 0, atol=1e-12, err_msg=part.name)


@all_problems
def test_partials_of_every_residual(case):
    """Against complex steps in u, u_i and u_ij."""
    problem, rng, h = made(case), np.random.default_rng(1), 1e-40
    x = inside(problem, 7, 0)
    values = [rng.normal(size=(7, 1, *(2,) * k)) for k in range(3)]
    for part in problem.parts:
        r, partials = part.residual(x, *values)
        assert r.shape == (7,)
        for k, (a, partial_) in enumerate(zip(values, partials)):
            dense = np.zeros((7, *a.shape[1:])) if partial_ is None else np.broadcast_to(partial_, a.shape)
            for index in np.ndindex(*a.shape[1:]):
                moved = [v.astype(complex) for v in values]
                moved[k][(slice(None), *index)] += 1j * h
                exact = np.imag(part.residual(x, *moved)[0]) / h
                assert_allclose(dense[(slice(None), *index)], exact, rtol=1e-13, atol=1e-13, err_msg=f"{part.name} {k}")


@all_problems
def test_only_the_pairs_that_are_named_are_used(case):
    problem = made(case)
    x = inside(problem, 3, 0)
    for part in problem.parts:
        u_ij = np.full((3, 1, 2, 2), np.nan)
        for i, j in part.pairs:
            u_ij[..., i, j] = u_ij[..., j, i] = 1.0
        if part.name == "equation" and len(part.pairs) == 2:
            u_ij[..., 0, 1] = u_ij[..., 1, 0] = 1e300  # einsum of the diagonal must not touch it
        assert np.isfinite(part.residual(x, np.ones((3, 1)), np.ones((3, 1, 2)), u_ij)[0]).all()


@all_problems
def test_hard_conditions_hold_exactly(case):
    """Whatever the network is; and the soft form of the same parts measures it as 0."""
    problem = made(case)
    net = kan([problem.inputs or 2, 3, 1], intervals=3, base=None)
    theta = np.random.default_rng(2).normal(size=net.size)
    u = problem.function(net, hard=True)
    tolerance = 1e-9 if case == "allen_cahn" else 1e-14  # its corner layer is cut off at t = 1e-30
    for part in problem.parts:
        if part.name in problem.soft:
            x = problem.points({part.name: 60})[part.name]
            value, slope, _ = u.derivatives(theta, x)
            found = part.residual(x, value, np.moveaxis(slope, 0, -1), np.zeros((60, 1, 2, 2)))[0]
            assert_allclose(found, 0, atol=tolerance, err_msg=part.name)


@all_problems
@pytest.mark.parametrize("hard", (False, True))
def test_the_gradient_of_the_loss(case, hard):
    problem, rng = made(case), np.random.default_rng(3)
    net = kan([problem.inputs or 2, 2, 1], intervals=2, degree=4, base=None, domain=(-2, 2))
    points = problem.points({part.name: 8 for part in problem.parts}, "random", 4)
    loss = problem.objective(net, points, hard)
    assert len(loss.parts) == len(problem.parts) - hard * len(problem.soft)
    check_objective(loss, 0.3 * rng.normal(size=net.size), rng)


@pytest.mark.parametrize("hard", (False, True))
@pytest.mark.parametrize("name", PROBLEMS)
def test_single_precision(name, hard):
    """Value, gradient, residuals and Jacobian are those of double precision, in the dtype of theta."""
    problem = PROBLEMS[name]()
    net = kan([problem.inputs or 2, 3, 1], intervals=3, degree=4, base=None, domain=(-2, 2))
    loss, theta = problem.objective(net, problem.points({part.name: 8 for part in problem.parts}, "sobol"), hard), net.init(0)
    single = theta.astype(np.float32)
    (value, gradient), (rough, slope) = loss(theta), loss(single)
    r, J = loss.residuals(single)
    assert slope.dtype == r.dtype == J.dtype == np.float32
    assert_allclose([rough, np.dot(r, r)], value, rtol=1e-4)
    assert max(relative(slope, gradient), relative(2 * J.T @ r, gradient)) < 1e-4


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("reaction_diffusion")])
def test_the_sides_of_a_periodic_box_meet(case):
    problem = made(case)
    net = kan([3, 3, 1], intervals=3, base=None)
    theta, t = np.random.default_rng(5).normal(size=net.size), np.linspace(0, 1, 9)
    sides = [np.stack([np.full(9, s), t], 1) for s in (-1.0, 1.0)]
    for hard in (False, True):
        left, right = (problem.function(net, hard).derivatives(theta, x) for x in sides)
        for a, b in zip(left, right):
            assert_allclose(a, b, rtol=1e-11, atol=1e-11 * np.abs(a).max())


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_is_named_as_it_is_found(name):
    problem = PROBLEMS[name]()
    assert problem.name == name and problem.parts[0].name == "equation"
    assert set(problem.soft) <= {part.name for part in problem.parts}
    assert (problem.hard is None) == (problem.soft == ())
    assert f"| {name} " in kanref.pde.__doc__


def test_an_unknown_problem():
    assert "wave" not in PROBLEMS
    with pytest.raises(KeyError):
        PROBLEMS["wave"]


# ---------------------------------------------------------------------------------------------- single problem files


def test_poisson_is_the_papers_problem():
    x = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    u, slope = solution(x)
    assert_allclose(u, np.sin(np.pi * x[:, 0]) * np.sin(np.pi * x[:, 1] ** 2), rtol=1e-14, atol=1e-15)
    _, _, u_i, u_ij = as_fields(lambda x: solution(x)[0], x)
    assert_allclose(slope, u_i[:, 0], atol=1e-9)
    assert_allclose(u_ij[:, 0, 0, 0] + u_ij[:, 0, 1, 1], source(x), atol=1e-6)


@pytest.mark.parametrize("diffusion, reaction", ((0.01, 5.0), (0.05, 2.0), (1e-4, 5.0)))
def test_more_cosines_give_the_same(diffusion, reaction):
    t = np.linspace(0, 1, 7)
    few, many = (reaction_diffusion.cosines(diffusion, reaction, times)(t) for times in (1, 2))
    assert_allclose(few, many[: len(few)], atol=1e-9)


def test_reaction_without_diffusion_is_logistic():
    """In the limit D -> 0, u = u_0/(u_0 + (1 - u_0) exp(-rho t))."""
    x = np.stack([np.linspace(-1, 1, 21), np.full(21, 0.7)], 1)
    start = reaction_diffusion.bump(x[:, 0])
    exact = start / (start + (1 - start) * np.exp(-3 * 0.7))
    assert_allclose(reaction_diffusion.solution(x, 1e-5, 3.0), exact, atol=1e-2)


@pytest.mark.parametrize("wave_number", (1.0, 6.0, 12.0, 40.0))
def test_helmholtz_in_other_degrees(wave_number):
    x = np.random.default_rng(1).uniform(-1, 1, (50, 2))
    x[0] = np.cos(np.pi * 3 / 64), np.cos(np.pi * 10 / 64)  # a node
    u = helmholtz.solution(x, wave_number)
    B = [helmholtz.barycentric(x[:, i], 80) for i in (0, 1)]
    other = np.einsum("ni,ij,nj->n", B[0], helmholtz.nodal_values(wave_number, 80), B[1])
    assert_allclose(u, other, atol=1e-10 * np.abs(u).max())


BAD = {
    "poisson frequency": (partial(poisson, frequency=0), "frequency must be at least 1, but it is 0"),
    "poisson contrast": (partial(poisson, contrast=1.0), "contrast must lie between -1 and 1.*but it is 1"),
    "heat": (lambda: PROBLEMS["heat"](diffusivity=-1), "diffusivity must be above 0, but it is -1"),
    "reaction": (lambda: PROBLEMS["reaction_diffusion"](reaction=50), r"reaction must lie in \[0, 20\], but it is 50; the ref"),
    "diffusion": (lambda: PROBLEMS["reaction_diffusion"](1e-9), r"diffusion must lie in \[0.0001, 1\], but it is 1e-09"),
    "helmholtz": (lambda: PROBLEMS["helmholtz"](np.pi / 2 * 2**0.5), "resonance.*2.22144 is one; change it a little"),
    "short waves": (lambda: PROBLEMS["helmholtz"](50), "at most 40"),
    "parts": (lambda: poisson().points({"sides": 3}), "counts has sides, but the parts of poisson are equation, boundary"),
    "points": (lambda: own().objective(kan([1, 1]), {"side": [[1.0]]}), "points has side, but the parts of mine are equation"),
    "weights": (lambda: own().objective(kan([1, 1]), {}, weights={"all": [1.0]}), "weights has all, but the parts of mine"),
    "hard": (lambda: own(None).function(kan([1, 1]), hard=True), "mine has no hard conditions; leave hard=False"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_problems(bad):
    call, message = BAD[bad]
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------------------------------------- the class Problem


def own(hard=lambda net: Trial(net, 1, distance=cap)):
    """u'' + 2 = 0, u(+-1) = 0: u = 1 - x^2."""
    equation = lambda x, u, u_i, u_ij: (u_ij[:, 0, 0, 0] + 2, (None, None, np.ones_like(u_ij)))
    sides = Part("sides", dirichlet(), weight=3.0, face=({0: -1.0}, {0: 1.0}))
    parts = (Part("equation", equation, ((0, 0),)), sides)
    return Problem("mine", "u'' = -2", {}, ("x",), ((-1.0, 1.0),), parts, lambda x: 1 - x[:, 0] ** 2, hard=hard)


def test_errors_and_residual_of_known_functions():
    """With N = 1 - a the trial function is (1 - a)(1 - x^2); without, u = 1 - a everywhere."""
    problem, a = own(), 0.25
    net = kan([1, 1], intervals=1, degree=0, base=None)
    theta = np.full(net.size, 1 - a)
    x = np.linspace(-1, 1, 5)[:, None]
    assert_allclose(problem.errors(net, theta, x, hard=True), (a, a), rtol=1e-12)
    e = 1 - a - (1 - x[:, 0] ** 2)
    size = np.linalg.norm(1 - x[:, 0] ** 2)
    assert_allclose(problem.errors(net, theta, x), (np.linalg.norm(e) / size, np.abs(e).max()), rtol=1e-12)
    assert_allclose(problem.residual(net, theta, x, hard=True), np.full((5, 1), 2 * a), rtol=1e-12)
    assert_allclose(problem.residual(net, theta, x), np.full((5, 1), 2.0))


def test_the_loss_is_the_weighted_sum_of_its_parts():
    problem, w = own(), np.array([0.5, 0.0, 2.0])
    net = kan([1, 2, 1], intervals=2, base=None)
    theta = np.random.default_rng(0).normal(size=net.size)
    points = {"equation": np.array([[-0.5], [0.1], [0.7]]), "sides": np.array([[-1.0], [1.0]])}
    r, u = problem.residual(net, theta, points["equation"])[:, 0], net(theta, points["sides"])
    loss = problem.objective(net, points, weights={"equation": w})
    assert_allclose(loss(theta)[0], (w * r**2).mean() + 3 * (u**2).mean(), rtol=1e-12)
    assert len(problem.objective(net, {"sides": points["sides"]}).parts) == 1
    hard = problem.objective(net, points, hard=True)
    assert_allclose(hard(theta)[0], (problem.residual(net, theta, points["equation"], True) ** 2).mean(), rtol=1e-12)


def test_a_part_with_a_trial_function_of_its_own():
    seen = []
    part = Part("equation", dirichlet(), trial=lambda net: seen.append(net) or Trial(net, 1, lambda z: -z))
    problem = Problem("mirror", "", {}, ("x",), ((-1.0, 1.0),), (part,), lambda x: x[:, 0])
    net = kan([1, 1], intervals=2, base=None)
    theta, x = np.arange(1.0, net.size + 1), np.array([[0.3]])
    loss = problem.objective(net, {"equation": x})
    assert seen == [net]
    assert_allclose(loss(theta)[0], net(theta, -x)[0, 0] ** 2, rtol=1e-12)


def test_mesh_runs_fastest_in_the_last_coordinate():
    mesh = PROBLEMS["heat"]().mesh(3)
    assert_array_equal(mesh[:4], [[-1, 0], [-1, 0.5], [-1, 1], [0, 0]])


# ------------------------------------------------------------------------------------------------------ trial functions


def test_cap_and_its_derivatives():
    x = np.random.default_rng(0).uniform(-1, 1, (6, 3))
    d = cap(jets.seed(x, np.eye(3)))
    value, first, second = (a[..., 0] for a in jets.parts(d))
    factors = 1 - x**2
    assert_allclose(value, factors.prod(1), rtol=1e-14)
    for i in range(3):
        others = np.delete(factors, i, 1).prod(1)
        assert_allclose(first[i], -2 * x[:, i] * others, rtol=1e-13, atol=1e-15)
        assert_allclose(second[i], -2 * others, rtol=1e-13)


def test_a_trial_function_passes_the_four_tests():
    case = next(case for case in cases() if case.structure.startswith("trial function"))
    assert case.objective.weights is not None
    assert four_checks(case, np.random.default_rng(0)).passed


def test_values_and_derivatives_of_a_trial_function():
    net = kan([2, 2, 1], intervals=2, degree=4, base=None)
    theta, x = np.random.default_rng(1).normal(size=net.size), inside(poisson(), 5, 0.1)
    u = Trial(net, 2, lambda z: 0.5 * z, lambda z: z[..., 1:], cap)
    assert_allclose(u(theta, x), x[:, 1:] + (1 - x**2).prod(1)[:, None] * net(theta, 0.5 * x), rtol=1e-12)
    value, first, second = u.derivatives(theta, x)
    for i, e in enumerate(np.eye(2)):
        line = lambda t, e=e, i=i: np.stack([u(theta, x + t * e), u.derivatives(theta, x + t * e)[1][i]])
        assert relative(difference(line, 1e-3), np.stack([first[i], second[i]])) < DIFFERENCE


def test_trial_functions_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="must take the 2 coordinates of the embedding, but it takes 3"):
        Trial(kan([3, 1]), 2)
    u = Trial(kan([2, 1]), 2)
    y, tape = u.forward(u.net.init(0), np.zeros((1, 1, 2)))
    with pytest.raises(ValueError, match="no adjoints of its coordinates"):
        u.pullback(u.net.init(0), tape, y, inputs=True)


# -------------------------------------------------------------------------------------------------------------- points

BOX = ((-1.0, 1.0), (0.0, 4.0))


def test_grids_are_even_and_close():
    x = sampling.box_points(BOX, 30)
    assert x.shape == (25, 2)
    assert_array_equal(np.unique(x[:, 1]), np.linspace(0, 4, 5))
    assert_array_equal(sampling.box_points(BOX, 3, face={0: 1.0}), [[1, 0], [1, 2], [1, 4]])
    assert_array_equal(sampling.box_points(BOX, 1), [[0, 2]])
    assert_array_equal(own().points({"sides": 7}, "sobol")["sides"], [[-1], [1]])


@pytest.mark.parametrize("kind", ("random", "sobol"))
def test_scattered_points_are_in_the_box_and_repeat(kind):
    draw = lambda seed: sampling.box_points(BOX, 50, kind, np.random.default_rng(seed))
    x = draw(1)
    assert x.shape == (50, 2) and (x >= [-1, 0]).all() and (x <= [1, 4]).all()
    assert_array_equal(x, draw(1))
    assert not np.array_equal(x, draw(2))


def test_sobol_points_fill_every_cell():
    """64 of them put one into each cell of 8 x 8; random ones do not."""
    cells = lambda kind: len(np.unique(np.floor(sampling.box_points(BOX, 64, kind, np.random.default_rng(0)) * [4, 2]), axis=0))
    assert cells("sobol") == 64 > cells("random")


def test_faces_share_the_points():
    x = poisson().points({"boundary": 41}, "random")["boundary"]
    sides = [(x[:, i] == s).sum() for i in (0, 1) for s in (-1, 1)]
    assert len(x) == 41 and min(sides) == 10 and max(sides) == 11


def test_the_largest_residuals_are_added():
    pool, x = np.arange(10.0)[:, None], np.array([[20.0]])
    r = np.array([0, -5, 1, 2, 5, 0, 0, 3, 0, 0.0])
    assert_array_equal(sampling.add_largest(x, pool, r, 3)[:, 0], [20, 1, 4, 7])
    both = np.stack([r, np.where(np.arange(10) == 9, 9.0, 0)], 1)
    assert_array_equal(sampling.add_largest(x, pool, both, 2)[:, 0], [20, 9, 1])


def test_draws_follow_the_residual():
    """Shares of r^2/mean(r^2) + 1 in many draws of one point; all different in one draw; the seed decides."""
    pool, r, rng = np.arange(4.0)[:, None], np.array([0.0, 1.0, 1.0, np.sqrt(2)]), np.random.default_rng(0)
    drawn = np.concatenate([sampling.draw(pool, r, 1, rng, power=2) for _ in range(8000)])[:, 0]
    assert_allclose(np.bincount(drawn.astype(int)) / 8000, [1 / 8, 2 / 8, 2 / 8, 3 / 8], atol=0.02)
    some = lambda seed: sampling.draw(pool, r, 3, np.random.default_rng(seed))
    assert len(np.unique(some(1))) == 3
    assert_array_equal(some(1), some(1))
    assert_array_equal(np.sort(sampling.draw(pool, r, 3, rng, offset=0), 0)[:, 0], [1, 2, 3])
    sampling.draw(pool, np.zeros(4), 4, rng)


@pytest.mark.parametrize(
    "call, message",
    (
        (lambda p, g: sampling.box_points(BOX, 0), "count must be at least 1"),
        (lambda p, g: sampling.box_points(BOX, 9, "halton"), "kind must be one of 'grid', 'random', 'sobol'"),
        (lambda p, g: sampling.add_largest(p, p, np.ones(4), 1), r"they have shapes \(5, 2\) and \(4,\)"),
        (lambda p, g: sampling.add_largest(p, p, np.ones(5), 6), "count must be from 1 to 5, but it is 6"),
        (lambda p, g: sampling.draw(p, np.ones(5), 6, g), "count must be from 1 to 5, but it is 6"),
        (lambda p, g: sampling.draw(p, np.eye(5)[0], 2, g, offset=0), "1 points of the pool only; give an offset above 0"),
        (lambda p, g: sampling.draw(p, np.ones(5), 2, g, power=-1), "power and offset must not be negative"),
    ),
)
def test_bad_points(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.zeros((5, 2)), np.random.default_rng(0))


# ------------------------------------------------------------------------------------------------------------- weights


def test_attention_by_hand():
    attention = Attention(3, mu=0.1)
    assert_array_equal(attention.weights, 1)
    attention.update(np.array([2.0, -4.0, 0.0]))
    assert_allclose(attention.weights, [0.95, 1.0, 0.9])
    attention.update(np.array([[3.0, 4.0], [0.0, 0.0], [0.0, -10.0]]))
    assert_allclose(attention.weights, [0.9 * 0.95 + 0.05, 0.9, 0.9 * 0.9 + 0.1])
    before = attention.weights.copy()
    attention.update(np.zeros(3))
    assert_array_equal(attention.weights, before)


def test_attention_converges_to_the_residuals_share():
    attention, r = Attention(4, mu=0.05), np.array([1.0, 0.5, 0.25, 0.0])
    for _ in range(600):
        attention.update(r)
    assert_allclose(attention.weights, r, atol=1e-12)


def test_causal_weights_by_hand():
    t = np.array([0.0, 0.1, 0.3, 0.6, 1.0])  # four slabs: two points, one, one, one
    causal = Causal(t, slabs=4, eps=0.5)
    assert_array_equal(causal.weights, 1)
    r = np.array([1.0, 3.0, 2.0, 0.1, 7.0])
    causal.update(r)
    L = np.array([5.0, 4.0, 0.01, 49.0])
    exact = np.exp(-0.5 * np.concatenate([[0], L.cumsum()[:-1]]))[[0, 0, 1, 2, 3]]
    assert_allclose(causal.weights, exact, rtol=1e-13)
    causal.update(np.stack([r, 0 * r], 1))
    assert_allclose(causal.weights, np.sqrt(exact), rtol=1e-13)
    sparse = Causal(np.array([0.0, 1.0]), slabs=5, eps=1.0)
    sparse.update(np.array([1.0, 1.0]))
    assert_allclose(sparse.weights, [1, np.exp(-1)])


@pytest.mark.parametrize("kind", (partial(Attention, 3000, 0.1), lambda: Causal(np.linspace(0, 1, 3000), 8, 0.1)))
def test_a_weighting_follows_the_evaluations_without_more_of_them(kind, monkeypatch):
    """Weights after each are those of `update` with that evaluation's residuals; the value is that of the weights before."""
    problem, net = PROBLEMS["heat"](), kan([2, 2, 1], intervals=2, base=None)
    points = problem.points({"equation": 3000, "initial": 5}, "random")  # two chunks
    followed, by_hand = kind(), kind()
    loss = problem.objective(net, points, weights={"equation": followed})
    rng, calls = np.random.default_rng(0), []
    forward = type(net).forward
    monkeypatch.setattr(type(net), "forward", lambda *a: calls.append(a[2].shape[1]) or forward(*a))
    for _ in range(3):
        theta = rng.normal(size=net.size)
        calls.clear()
        value, gradient = loss(theta)
        assert sum(calls) == 3005
        fixed = problem.objective(net, points, weights={"equation": by_hand.weights})
        assert_array_equal(value, fixed(theta)[0])
        assert_array_equal(gradient, fixed(theta)[1])
        by_hand.update(problem.residual(net, theta, points["equation"]))
        assert_array_equal(followed.weights, by_hand.weights)
    assert_allclose(loss.value(theta), fixed.value(theta), rtol=1e-14)
    part = loss.parts[0][1]
    assert part.samples == 3000
    assert_array_equal(part.residual_values(theta), problem.residual(net, theta, points["equation"]))
    for a, b in zip(loss.residuals(theta), fixed.residuals(theta)):
        assert_array_equal(a, b)


def test_numbers_stay_until_they_are_updated():
    """The array of a weighting is read where it is, so an objective made with it sees the update."""
    problem, net = own(), kan([1, 2, 1], intervals=2, base=None)
    attention, points, theta = Attention(3, 0.5), {"equation": np.array([[-0.5], [0.1], [0.7]])}, net.init(0)
    loss = problem.objective(net, points, weights={"equation": attention.weights})
    values = [loss(theta)[0] for _ in range(2)]
    assert values[0] == values[1]
    r = problem.residual(net, theta, points["equation"])
    attention.update(r)
    assert_allclose(loss(theta)[0], (attention.weights * r[:, 0] ** 2).mean(), rtol=1e-12)


def test_adam_with_attention_is_deterministic_and_learns():
    problem, net = own(), kan([1, 3, 1], intervals=3, degree=4, base=None)
    points = problem.points({"equation": 21, "sides": 2})

    def train():
        attention = Attention(21, mu=1e-2)
        loss = problem.objective(net, points, weights={"equation": attention})
        done = optimize.adam(loss, net.init(0), steps=300, rate=1e-2, keep="last")
        return done.theta, attention.weights

    (theta, weights), (again, _) = train(), train()
    assert_array_equal(theta, again)
    assert problem.errors(net, theta)[0] < 0.05 < problem.errors(net, net.init(0))[0]
    assert weights.min() < 0.9 and weights.max() <= 1


@pytest.mark.parametrize("method", (partial(optimize.lbfgs, steps=15), least_squares(6)))
def test_weights_are_held_while_a_run_compares_values(method):
    problem, net = PROBLEMS["heat"](), kan([2, 3, 1], intervals=2, base=None)
    points = problem.points({"equation": 50, "initial": 9}, "random")
    causal = Causal(points["equation"][:, 1], 4, 0.5)
    loss, theta = problem.objective(net, points, weights={"equation": causal}), net.init(1)
    seen = []
    for _ in range(2):
        by_hand = Causal(points["equation"][:, 1], 4, 0.5)
        by_hand.update(problem.residual(net, theta, points["equation"]))
        done = held(method)(loss, theta, callback=lambda state: seen.append(causal.weights.copy()))
        assert_array_equal(causal.weights, by_hand.weights)
        fixed = problem.objective(net, points, weights={"equation": by_hand.weights})
        assert done.history.value[0] == pytest.approx(fixed(theta)[0], rel=1e-12)
        assert done.value == pytest.approx(fixed(done.theta)[0], rel=1e-12)
        assert (np.diff(done.history.value) <= 0).all() and done.value < done.history.value[0]
        theta = done.theta
    assert len({w.tobytes() for w in seen}) == 2


def test_a_run_that_diverges_leaves_the_weights_alone():
    attention = Attention(2)
    broken = lambda x, u, u_i, u_ij: (np.where(x[:, 0] > 0, np.inf, 1.0) * u[:, 0], (np.ones_like(u), None, None))
    problem = Problem("broken", "", {}, ("x",), ((-1.0, 1.0),), (Part("equation", broken),), lambda x: x[:, 0])
    net = kan([1, 1], intervals=2, base=None)
    loss = problem.objective(net, {"equation": np.array([[-0.5], [0.5]])}, weights={"equation": attention})
    with np.errstate(all="ignore"):
        loss(np.ones(net.size))
    assert_array_equal(attention.weights, 1)


@pytest.mark.parametrize(
    "call, message",
    (
        (lambda: Attention(0), "count must be at least 1"),
        (lambda: Attention(3, mu=1.0), "mu must lie between 0 and 1, but it is 1"),
        (lambda: Attention(3).update(np.ones(4)), r"residuals at the 3 points, but it has shape \(4,\)"),
        (lambda: Causal(np.ones((3, 1))), r"a vector, but it has shape \(3, 1\); give x\[:, i\]"),
        (lambda: Causal(np.ones(3), eps=0), "eps must lie between 0 and inf, but it is 0"),
        (lambda: Causal(np.ones(3)).update(np.ones((3, 1, 1))), "at the 3 points"),
        (lambda: own().objective(kan([1, 1]), {"equation": np.zeros((3, 1))}, weights={"equation": Attention(2)}), "3 numbers"),
    ),
)
def test_bad_weightings(call, message):
    with pytest.raises(ValueError, match=message):
        call()
