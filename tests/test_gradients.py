"""Gradients of everything: the cases of `kanref.check`, Jacobians, Hessians, residuals, batches; and the checks."""

from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases, check, jets, objectives, spec
from kanref.bases import BSpline, Chebyshev, MinMax, Pointwise
from kanref.check import CheckError, complex_step, definition, evaluate, relative
from kanref.network import KAN, Layer, kan
from kanref.power_relu import PowerReLU
from kanref.tensors import mode_dot
from kanref.terms import Linear
from kanref.weights import Fixed, Full, InBasis, LoTRA, LowRank, Masked, Scaled, Tucker

CASES = check.cases(0)
every_structure = pytest.mark.parametrize("case", [c for c in CASES if c.purpose == "jets"], ids=lambda c: c.structure)


def generator(case):
    return np.random.default_rng(CASES.index(case))


# ----------------------------------------------------------------------------------------------- every kind of network


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_four_checks_of_every_gradient(case):
    row = check.four_checks(case, generator(case))
    assert row.passed, check.table([row])


@every_structure
def test_input_derivatives(case):
    row = check.input_check(case)
    assert row.passed, check.table([row])


@every_structure
def test_jets_along_three_directions_are_those_of_the_definition(case):
    z = generator(case).normal(size=(7, 2, 2))
    y = case.objective.net.forward(case.theta, z)[0]
    exact = evaluate(case.objective.net, case.theta, z)
    for part, by_definition in zip(jets.parts(y), jets.parts(exact)):
        assert relative(part, by_definition) <= 1e-13


@every_structure
def test_values_to_fifty_digits(case):
    net, x = case.objective.net, case.objective.z[0, :1]
    with mpmath.workdps(50):
        exact = evaluate(net, np.array([mpmath.mpf(c) for c in case.theta.tolist()]), x[None])
        assert exact.dtype == object
        atol, rtol = 1e-14 * (1 + np.abs(case.theta).sum()), 1e-13 * ("power ReLUs" in case.structure)  # large values
        assert_allclose(net(case.theta, x), exact[0].astype(float), rtol=rtol, atol=atol)


@every_structure
def test_jacobian_rows_are_complex_steps(case):
    net, x = case.objective.net, case.objective.z[0]
    exact = complex_step(lambda theta: evaluate(net, theta, x[None])[0], case.theta)
    assert relative(net.jacobian(case.theta, x), np.moveaxis(exact, 0, -1)) <= 1e-13


@pytest.mark.parametrize(
    "net", [kan([3, 2, 2], intervals=2), kan([3, [1, [2]], 1], intervals=1, degree=4)], ids=["2", "1"]
)
def test_gradient_and_hessian_are_those_of_the_definition(net):
    """H_ij by polarisation against a complex step along e_j of the slope along e_i."""
    rng, e, h = np.random.default_rng(1), np.eye(3), 1e-40
    theta, x = 0.6 * rng.normal(size=net.size), rng.uniform(-1.1, 1.1, (2, 3))
    layers = definition(net, theta)
    slope = lambda sample, i, j: spec.derivatives(layers, (sample + 1j * h * e[j]).tolist(), e[i].tolist(), 1)[:, 1]
    table = np.array([[[slope(sample, i, j) for j in range(3)] for i in range(3)] for sample in x])  # (N, i, j, m)
    table = np.moveaxis(table, -1, 1)
    hessian = net.hessian(theta, x)
    assert relative(net.gradient(theta, x), table[..., 0].real) <= 1e-13
    assert relative(hessian, table.imag / h) <= 1e-13
    assert_array_equal(hessian, np.swapaxes(hessian, -1, -2))


def test_gradients_in_float32():
    """To 1e-4 of the largest entry."""
    for case in CASES:
        if case.structure.startswith("[2, 2, 1], degree 3"):
            value, gradient = case.objective(case.theta)
            single_value, single = case.objective(case.theta.astype(np.float32))
            assert single.dtype == np.float32
            assert relative(single, gradient) <= 1e-4
            assert_allclose(single_value, value, rtol=1e-4)


# ------------------------------------------------------------------------------------------------ residuals and batches


def least_squares(samples):
    """{name: objective} with residuals, on one network with two outputs."""
    net, rng = kan([2, 3, 2], intervals=2, degree=4), np.random.default_rng(2)
    x, y = rng.uniform(-1, 1, (samples, 2)), rng.normal(size=(samples, 2))

    def residual(x, u, u_i, u_ij):
        """(u_xx - v, u_y v): two equations for two functions."""
        zero, one = np.zeros_like(u[:, 0]), np.ones_like(u[:, 0])
        r = np.stack([u_ij[:, 0, 0, 0] - u[:, 1], u_i[:, 0, 1] * u[:, 1]], -1)
        r_u = np.stack([np.stack([zero, -one], -1), np.stack([zero, u_i[:, 0, 1]], -1)], 1)
        r_ui, r_uij = np.zeros((len(x), 2, 2, 2), u.dtype), np.zeros((len(x), 2, 2, 2, 2), u.dtype)
        r_ui[:, 1, 0, 1], r_uij[:, 0, 0, 0, 0] = u[:, 1], 1
        return r, (r_u, r_ui, r_uij)

    data, equation = objectives.mse(net, x, y), objectives.collocation(net, x[samples // 2 :], residual, ((0, 0),))
    both = objectives.weighted_sum([(0.25, data), (3.0, equation)])
    return {"mse": data, "collocation": equation, "weighted sum": both}


LEAST_SQUARES = least_squares(7)
SIZE = LEAST_SQUARES["mse"].net.size
every_least_squares = pytest.mark.parametrize("name", LEAST_SQUARES)


def residuals_by_definition(objective, theta):
    if isinstance(objective, objectives.WeightedSum):
        parts = [weight**0.5 * residuals_by_definition(part, theta) for weight, part in objective.parts]
        return np.concatenate(parts)
    if isinstance(objective, objectives.Collocation):
        r = objective.residual(*check.fields(objective, theta))[0]
    else:
        r = evaluate(objective.net, theta, objective.x[None])[0] - objective.y
    return r.ravel() / r.size**0.5


@every_least_squares
def test_residuals_and_their_jacobian(name):
    objective, theta = LEAST_SQUARES[name], 0.5 * np.random.default_rng(3).normal(size=SIZE)
    value, gradient = objective(theta)
    r, J = objective.residuals(theta)
    assert_allclose(r @ r, value, rtol=1e-14)
    assert_allclose(objective.value(theta), value, rtol=1e-14)
    assert relative(r, residuals_by_definition(objective, theta)) <= 1e-13
    assert relative(J, complex_step(lambda theta: residuals_by_definition(objective, theta), theta).T) <= 1e-13
    assert relative(2 * J.T @ r, gradient) <= 1e-13


@every_least_squares
@pytest.mark.parametrize("rows", [1, 3, 4])
def test_a_jacobian_that_does_not_fit_in_memory_is_an_operator(name, rows, monkeypatch):
    """Blocks of so many of 60 and 30 samples; at 4, the smaller part of the sum fits."""
    objective, rng = least_squares(60)[name], np.random.default_rng(4)
    theta = rng.normal(size=SIZE)
    r, J = objective.residuals(theta)
    monkeypatch.setattr(objectives, "ROW_MEMORY", 8 * rows * 2 * SIZE * theta.itemsize)
    same_r, operator = objective.residuals(theta)
    assert_array_equal(same_r, r)
    assert isinstance(J, np.ndarray)
    assert isinstance(operator, np.ndarray) == (name == "collocation" and rows == 4)
    v, w = rng.normal(size=(SIZE, 2)), rng.normal(size=len(r))
    assert relative(operator @ v, J @ v) <= 1e-13
    assert relative(operator @ v[:, 0], J @ v[:, 0]) <= 1e-13
    assert relative(operator.T @ w, J.T @ w) <= 1e-13
    check.check_adjoint(lambda v: operator @ v, lambda w: operator.T @ w, v[:, 1], w)


@pytest.mark.parametrize(("size", "batches"), [(1, 7), (2, 3), (3, 2), (4, 1)])
def test_minibatches_are_an_epoch_of_batches(size, batches):
    """Each sample once in an epoch: values and gradients of the batches, weighted by their sizes, make the whole."""
    objective, theta = LEAST_SQUARES["mse"], np.random.default_rng(5).normal(size=SIZE)
    for epoch in range(2):
        stream, again = (objectives.minibatches(objective, size, seed=9) for _ in range(2))
        for _ in range(epoch * batches):
            stream(theta)
        order = np.random.default_rng(9)
        for _ in range(epoch + 1):
            permutation = order.permutation(7)
        rows = np.split(permutation, np.arange(1, batches) * size)
        pairs = [stream(theta) for _ in rows]
        share = np.array([len(r) / 7 for r in rows])
        assert_allclose(share @ [value for value, _ in pairs], objective(theta)[0], rtol=1e-13)
        assert relative(sum(s * g for s, (_, g) in zip(share, pairs)), objective(theta)[1]) <= 1e-13
        for r, (value, gradient) in zip(rows, pairs):
            exact = objectives.mse(objective.net, objective.x[r], objective.y[r])(theta)
            assert value == objective.batch(r)(theta)[0] == exact[0]
            assert_array_equal(gradient, exact[1])
        assert stream.calls == (epoch + 1) * batches and again.calls == 0
    assert objectives.minibatches(objective, 7) is objective


# -------------------------------------------------------------------------------------------- conformance of the parts


def uneven(kind, outside="zero"):
    return BSpline(check.knot_rows(kind, 2, 3, np.random.default_rng(6)), 3, outside)


BASES = {
    **{f"uniform, degree {d}": BSpline.uniform(2, 4, d) for d in (0, 1, 2, 3, 5)},
    **{f"{kind} knots": uneven(kind) for kind in ("random", "clamped", "repeated")},
    **{outside: uneven("random", outside) for outside in ("linear", "clamp")},
    **bases.BASE_FUNCTIONS,
    "min-max": MinMax([-1, 0], [2, 0.5]),
    **{f"power ReLUs, degree {d}": PowerReLU(BSpline.uniform(2, 4, d).knots, d) for d in (0, 1, 2, 3, 5)},
    "power ReLUs, uneven": PowerReLU(uneven("random").knots, 3),
    **{f"chebyshev {d}": Chebyshev(d) for d in (0, 1, 2, 7)},
}


@pytest.mark.parametrize("name", BASES)
def test_every_basis_conforms(name):
    x = np.random.default_rng(6).uniform(-1.3, 1.3, (20, 2))
    x[:3] = [[-1, 1], [0, -0.5], [-4, 4]]
    report = check.check_basis(BASES[name], x)
    assert "derivative 3" in report
    assert ("definition, order 3" in report) == isinstance(BASES[name], BSpline)


def test_a_basis_that_refuses_points_conforms_inside():
    basis = uneven("random", "error")
    check.check_basis(basis, check.between_knots(basis, 2, 9, np.random.default_rng(7)))


HATS, UNEVEN = BSpline.uniform(2, 2, 2), BSpline(check.knot_rows("random", 2, 1, np.random.default_rng(12)), 1)
WEIGHTS = {
    "full": Full((3, 2, 4)),
    "fixed": Fixed(np.random.default_rng(8).normal(size=(3, 2, 4))),
    "masked": Masked(Full((3, 2, 4)), [[1, 0], [0.5, 1], [1, 1]]),
    "scaled": Scaled(Full((3, 2, 4))),
    "scaled and masked": Masked(Scaled(Full((3, 2, 4))), [[1, 0], [0.5, 1], [1, 1]]),
    "masked and scaled": Scaled(Masked(Full((3, 2, 4)), [[1, 0], [1, 1], [1, 1]])),
    "tucker": Tucker((3, 2, 4), (2, 2, 3)),
    "lotra": LoTRA(np.random.default_rng(10).normal(size=(3, 2, 4)), Tucker((3, 2, 4), (2, 1, 2)), 0.5),
    "low rank": LowRank((3, 2, 4), 2),
    "matrix lotra": LoTRA(np.random.default_rng(12).normal(size=(3, 2, 4)), LowRank((3, 2, 4), 2), 2.0),
    "masked lotra": Masked(
        LoTRA(np.random.default_rng(11).normal(size=(3, 2, 4)), Tucker((3, 2, 4), (3, 2, 4))), [[1, 0], [1, 1], [1, 1]]
    ),
    "in power ReLUs": InBasis(Full((3, 2, 4)), HATS),
    "in uneven power ReLUs": InBasis(Full((3, 2, 4)), UNEVEN),
    "in splines": InBasis(Full((3, 2, 4)), UNEVEN, "spline", "spline"),
    "masked, scaled, in power ReLUs": Masked(Scaled(InBasis(Full((3, 2, 4)), UNEVEN)), [[1, 0], [0.5, 1], [1, 1]]),
    "in power ReLUs, masked": InBasis(Masked(Full((3, 2, 4)), [[1, 0], [0.5, 1], [1, 1]]), HATS),
    "in power ReLUs, tucker": InBasis(Tucker((3, 2, 4), (2, 2, 3)), HATS),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_kind_of_weights_conforms(name):
    report = check.check_weights(WEIGHTS[name], np.random.default_rng(9))
    assert {"pullback", "start", "rebased by R (6, 4)"} <= set(report)
    assert ("rebased by R (2, 5, 4)" in report) == (name == "matrix lotra" or not name.endswith(("tucker", "lotra")))


@pytest.mark.parametrize("weights", ["full", "fixed", "scaled and masked"])
@pytest.mark.parametrize("basis", ["degree 3", "linear", "repeated knots", "silu", "chebyshev 3"])
def test_every_kind_of_term_conforms(basis, weights):
    b = {
        "degree 3": BSpline.uniform(2, 1, 3),
        "linear": BSpline.uniform(2, 1, 3, outside="linear"),
        "repeated knots": BSpline([[-1, -1, -1, 0, 0.4, 1, 1, 1]] * 2, 3),
        "silu": bases.silu,
        "chebyshev 3": Chebyshev(3),
    }[basis]
    shape, rng = (3, 2, b.size), np.random.default_rng(10)
    w = {
        "full": Full(shape),
        "fixed": Fixed(rng.normal(size=shape)),
        "scaled and masked": Masked(Scaled(Full(shape)), [[1, 0], [0.5, 1], [1, 1]]),
    }[weights]
    report = check.check_term(Linear(b, w), rng)
    assert len(report) == 15


@pytest.mark.parametrize("name", LEAST_SQUARES)
def test_objectives_conform(name):
    theta = np.random.default_rng(11).normal(size=SIZE)
    observed = check.check_objective(LEAST_SQUARES[name], theta, np.random.default_rng(12))
    assert_allclose(observed, (1, 2), atol=0.1)


def test_refinement_and_its_adjoint():
    """W -> W x_3 R; its adjoint is W_bar -> W_bar x_3 R'."""
    rng = np.random.default_rng(13)
    R, W, y = rng.normal(size=(6, 4)), rng.normal(size=(3, 2, 4)), rng.normal(size=(3, 2, 6))
    check.check_adjoint(lambda W: mode_dot(W, R, 2), lambda y: mode_dot(y, R.T, 2), W, y)
    with pytest.raises(CheckError, match=r"dot test: <F v, w> = .*, but <v, F\* w> = .*relative error"):
        check.check_adjoint(lambda W: mode_dot(W, R, 2), lambda y: 1.001 * mode_dot(y, R.T, 2), W, y)


# ----------------------------------------------------------------------------------- the checks find what they look for


@dataclass
class Wrong:
    """A part of which some attributes are replaced by others."""

    part: object
    changes: dict

    def __getattr__(self, name):
        return self.changes[name] if name in self.changes else getattr(self.part, name)

    def __call__(self, theta):
        return self.part(theta)


def scaled_values(basis, order, factor):
    """derivatives() with one derivative multiplied by a factor."""

    def derivatives(x, highest):
        first, values = basis.derivatives(x, highest)
        values = values.copy()
        values[order : order + 1] *= np.asarray(factor, x.dtype)
        return first, values

    return derivatives


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"derivatives": scaled_values(bases.sin, 1, 1.00001)}, "'derivative 1' has relative error"),
        ({"derivatives": scaled_values(bases.sin, 3, 1.00001)}, "'derivative 3' has relative error"),
        ({"derivatives": scaled_values(bases.sin, 0, np.nan)}, "values must be finite"),
        ({"window": 2}, r"values must have shape \(4, 5, 2, 2\)"),
        ({"size": 0}, r"first must lie in 0..size - window = 0..-1, but it spans 0..0"),
        ({"derivatives": lambda x, m: bases.sin.derivatives(x.astype(float), m)}, "values at float32 points must keep"),
        ({"derivatives": lambda x, m: (x, bases.sin.derivatives(x, m)[1])}, "first must be integers"),
        ({"derivatives": lambda x, m: bases.sin.derivatives(x - x[:1], m)}, "'points by themselves'"),
        ({"derivatives": lambda x, m: bases.sin.derivatives(x * (1 + m), m)}, "'lower orders'"),
    ],
)
def test_check_basis_finds(change, message):
    with pytest.raises(CheckError, match=message):
        check.check_basis(Wrong(bases.sin, change), np.random.default_rng(14).uniform(-1, 1, (5, 2)))


def test_check_basis_compares_bsplines_with_the_definition():
    """A spline that takes points for others is consistent in itself."""

    class Shifted(BSpline):
        def derivatives(self, x, order):
            return super().derivatives(x + np.asarray(1e-9, x.dtype), order)

    with pytest.raises(CheckError, match="Shifted: 'definition, order 0' has relative error"):
        check.check_basis(Shifted(BSpline.uniform(2, 4, 3).knots, 3), np.random.default_rng(15).uniform(-1, 1, (5, 2)))


FULL = Full((3, 2, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensor": lambda a: 1.0001 * a["W"]}, "'pullback' has relative error"),
        ({"tensor": lambda a: a["W"][..., :2]}, r"tensor must have shape \(3, 2, 4\)"),
        ({"pullback": lambda a, W_bar: {}}, "pullback must give arrays {'W'"),
        ({"pullback": lambda a, W_bar: {"W": W_bar + (W_bar.sum() if W_bar.ndim > 3 else 0)}}, "'leading axes"),
        ({"rebased": lambda R, basis: (FULL, {})}, r"rebased by R \(6, 4\) must have shape \(3, 2, 6\)"),
        ({"rebased": lambda R, basis: (Full((3, 2, R.shape[-2])), {"W": (2, -R)})}, r"'rebased by R \(6, 4\)'"),
        ({"start": lambda W: {"W": 0 * W}}, "'start' has relative error"),
        ({"start": lambda W: W.fill(0) or {"W": W}}, "arrays must be left alone"),
    ],
)
def test_check_weights_finds(change, message):
    with pytest.raises(CheckError, match=message):
        check.check_weights(Wrong(FULL, change), np.random.default_rng(16))


def wrong_pullback(term, factor, inputs_factor):
    def pullback(arrays, z, y_bar, inputs=True):
        bar, z_bar = term.pullback(arrays, z, y_bar, inputs)
        return {name: factor * a for name, a in bar.items()}, None if z_bar is None else inputs_factor * z_bar

    return pullback


TERM = Linear(Chebyshev(3), Full((3, 2, 4)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pullback": wrong_pullback(TERM, 1.01, 1)}, "'pullback, 0 directions'"),
        ({"pullback": wrong_pullback(TERM, 1, 1.01)}, "'pullback, 0 directions'"),
        ({"pullback": lambda a, z, y_bar, inputs=True: TERM.pullback(a, z, y_bar)}, "z_bar must be None without"),
        ({"rows": lambda a, z, y_bar: TERM.rows(a, z, 1.001 * y_bar)}, "'rows, 0 directions'"),
        ({"rows": lambda a, z, y_bar: TERM.pullback(a, z, y_bar)[0]}, r"rows must give arrays {'W': \(9, 3, 2, 4\)}"),
        ({"edges": lambda a, x: 2 * TERM.edges(a, x)}, "'edges' has relative error"),
        ({"forward": lambda a, z: TERM.forward(a, z)[0]}, "forward must have shape"),
        ({"forward": lambda a, z: z.fill(0) or TERM.forward(a, z)}, "the jet must be left alone"),
    ],
)
def test_check_term_finds(change, message):
    x = np.random.default_rng(17).normal(size=(9, 2))
    with pytest.raises(CheckError, match=message):
        check.check_term(Wrong(TERM, change), np.random.default_rng(18), x)


def test_terms_of_other_kinds_need_points():
    with pytest.raises(ValueError, match="x must be given for terms of type Wrong"):
        check.check_term(Wrong(TERM, {}), np.random.default_rng(0))


def pair(value, gradient):
    return lambda theta: (value(theta), gradient(theta))


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (pair(lambda t: float(t @ t), lambda t: 2.001 * t), "at order 1.00 with it"),
        (
            pair(lambda t: float(np.abs(t - t.round(1)).sum()), np.sign),
            "the gradient is wrong, or the objective has a kink",
        ),
        (pair(lambda t: t @ t, lambda t: (2 * t)[:2]), r"the gradient must have theta's shape \(3,\), not \(2,\)"),
        (pair(lambda t: np.array(t @ t), lambda t: 2 * t), "the value must be a float"),
        (pair(lambda t: float(t.sort() or t @ t), lambda t: 2 * t), "the objective must leave theta alone"),
    ],
)
def test_check_objective_finds(objective, message):
    with pytest.raises(CheckError, match=message):
        check.check_objective(objective, np.array([0.3, -0.8, 0.1]), np.random.default_rng(19))


def test_check_objective_wants_the_same_bits_and_the_same_value():
    counter = iter(range(9))
    with pytest.raises(CheckError, match="two calls must give the same bits"):
        check.check_objective(lambda t: (float(t @ t) + next(counter), 2 * t), np.ones(3), np.random.default_rng(20))
    objective = Wrong(LEAST_SQUARES["mse"], {"value": lambda theta: 1.0})
    with pytest.raises(CheckError, match=r"value\(theta\) is 1.0, but the pair has"):
        check.check_objective(objective, np.ones(SIZE), np.random.default_rng(20))


def test_a_linear_function_leaves_no_remainder():
    assert (
        check.check_objective(lambda t: (float(t.sum()), np.ones(3)), np.zeros(3), np.random.default_rng(21)).first > 2
    )


class Almost(objectives.Collocation):
    """An objective whose gradient is right to ten digits."""

    def __call__(self, theta):
        value, gradient = super().__call__(theta)
        return value, gradient * (1 + 1e-10)


def test_a_gradient_that_is_wrong_in_the_tenth_digit_is_found_by_the_complex_step_alone():
    case = next(c for c in CASES if c.name == "[2, 2, 1], degree 4: equation")
    right = case.objective
    almost = Almost(right.net, right.x, right.residual, right.pairs)
    row = check.four_checks(case._replace(objective=almost), np.random.default_rng(22))
    assert not row.passed
    assert_allclose(row.complex_step, 1e-10, rtol=1e-3)
    assert row._replace(complex_step=0).passed


# ---------------------------------------------------------------------------------------------------- run and its table


def test_run_is_deterministic_counts_and_prints(monkeypatch):
    few = [c for c in CASES if c.structure == "chebyshev"]
    monkeypatch.setattr(check, "cases", lambda seed: few)
    calls = []
    rows = check.run(3, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert rows == check.run(3)
    lines = check.table(rows).splitlines()
    assert lines[0].startswith("network") and lines[0].endswith("Taylor")
    assert [line.split()[:3] for line in lines[2:5]] == [["chebyshev", p, "26"] for p in ("mse", "jets", "inputs")]
    assert len({len(line) for line in lines[:6]}) == 1
    assert lines[-1].startswith("3 lines, all passed; largest complex-step error")
    failed = check.table([*rows, rows[0]._replace(complex_step=1e-9)]).splitlines()
    assert failed[-1].startswith("4 lines, 1 FAILED; largest complex-step error 1.0e-09")
    assert failed[5].endswith("FAILED")


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (KAN((Layer({"x": Linear(Pointwise("cube", (lambda x: x**3,)), Full((1, 1, 1)))}),)), "base function 'cube'"),
        (KAN((Layer({"x": Linear(bases.sin, Wrong(Full((1, 1, 1)), {}))}),)), "weights Wrong"),
        (KAN((Layer({"x": Wrong(Linear(bases.sin, Full((1, 1, 1))), {})}),)), "terms of type Wrong"),
        (KAN((Layer({"x": Linear(Wrong(bases.sin, {}), Full((1, 1, 1)))}),)), "basis Wrong"),
    ],
)
def test_the_definition_refuses_what_it_does_not_know(net, message):
    with pytest.raises(TypeError, match=f"the definition does not know (the )?{message}"):
        definition(net, np.ones(1))
    with pytest.raises(TypeError, match="the definition does not know objectives of type function"):
        check.value(lambda theta: 0.0, np.ones(1))
