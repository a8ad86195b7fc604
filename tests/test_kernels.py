"""The kernels against the definition at 50 digits, against the generic path, and against themselves in other splits."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases, jets, narrow, spec, terms
from kanref.bases import BSpline
from kanref.check import ULPS, UNIFORM_ULPS, check_adjoint, relative
from kanref.kernels import spline_layer as kernel
from kanref.network import KAN, kan, spline_layer

ULP = {np.float64: 2.0**-52, np.float32: 2.0**-23}


def knot_rows(degree, rng):
    """{kind: knots}: what `table` treats as uniform (three, one of them far from 0) and what it does not."""
    inner = np.sort(rng.uniform(-1, 1, 4))
    ladder = np.arange(-degree - 1, degree + 3) / 2 + rng.uniform(0, 0.3, 2 * degree + 4)
    return {
        "uniform": BSpline.uniform(1, 5, degree).knots[0],
        "uniform, fine": BSpline.uniform(1, 64, degree, 0.1, 0.9).knots[0],
        "uniform, far": BSpline.uniform(1, 3, degree, 100, 101).knots[0],
        "random": np.sort(rng.uniform(-1, 1, 2 * degree + 6)),
        "clamped": np.concatenate([[-1.0] * (degree + 1), inner, [1.0] * (degree + 1)]),
        "repeated": np.sort(np.concatenate([ladder, [0.1] * max(1, degree // 2 + 1)])),
    }


def errors_in_ulps(basis, x, exact_digits=50):
    """Largest |computed - exact| / (ulp * max |exact in the window|) over points x and derivatives 0..3, one input."""
    knots, dtype, worst = basis.knots[0].astype(x.dtype).tolist(), x.dtype.type, 0.0
    with mpmath.workdps(exact_digits):
        t = [mpmath.mpf(c) for c in knots]
        first, values = basis.derivatives(x[:, None], 3)
        for n, c in enumerate(x.tolist()):
            for order in range(4):
                exact = spec.bspline(mpmath.mpf(c), t, basis.degree, order, basis.outside)
                window = range(first[n, 0], first[n, 0] + basis.window)
                assert not any(b for i, b in enumerate(exact) if i not in window)
                error = max(abs(mpmath.mpf(float(v)) - exact[i]) for v, i in zip(values[order, n, 0], window))
                scale = max(map(abs, exact))
                assert scale or not error
                worst = max(worst, float(error / scale) / ULP[dtype] if error else 0.0)
    return worst


def points(knots, degree, rng, count=6):
    """Inside the domain at random, one rounding inside its ends, at its ends, at other knots, and beyond all."""
    a, b = knots[degree], knots[-degree - 1]
    between = [rng.uniform(a, b, count), [np.nextafter(a, b), np.nextafter(b, a)], knots[[0, degree + 1, -1]]]
    return np.concatenate([*between, [a, b, knots[0] - 1, knots[-1] + 1]])


@pytest.mark.parametrize("degree", ULPS)
def test_bsplines_and_derivatives_are_exact_to_a_few_ulps(degree):
    rng = np.random.default_rng(degree)
    for kind, knots in knot_rows(degree, rng).items():
        basis = BSpline(knots[None], degree)
        fast = bool(basis.steps[0] > 0)
        assert fast == kind.startswith("uniform")
        rounding = UNIFORM_ULPS * np.abs(knots).max() / basis.steps[0] if fast else 0
        bound = ULPS[degree] and ULPS[degree] + rounding
        assert errors_in_ulps(basis, points(knots, degree, rng)) <= bound, kind


@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
@pytest.mark.parametrize("degree", [1, 3])
def test_bsplines_outside_the_domain(degree, outside):
    """With every policy, in the exterior spans and beyond; straight lines lose a digit with the distance."""
    rng = np.random.default_rng(3)
    for knots in knot_rows(degree, rng).values():
        basis = BSpline(knots[None], degree, outside)
        a, b = basis.domain[0]
        x = np.concatenate(
            [rng.uniform(knots[0], a, 3), rng.uniform(b, knots[-1], 3), [knots[0] - 0.5, knots[-1] + 0.5]]
        )
        rounding = UNIFORM_ULPS * np.abs(knots).max() / basis.steps[0] if basis.steps[0] > 0 else 0
        assert errors_in_ulps(basis, x) <= 2 * ULPS[degree] + rounding


def test_bsplines_in_float32():
    """The same bounds in units of 2^-23, on knots that float32 holds exactly."""
    rng = np.random.default_rng(4)
    for knots in (np.arange(-5, 10) / 4, np.sort(rng.integers(-400, 400, 13)) / 256):
        basis = BSpline(knots[None], 3)
        rounding = UNIFORM_ULPS * np.abs(knots).max() / basis.steps[0] if basis.steps[0] > 0 else 0
        assert errors_in_ulps(basis, points(knots, 3, rng).astype(np.float32)) <= ULPS[3] + rounding


# --------------------------------------------------------------------------------------------------------------- SiLU


def silu_table(x):
    s = np.empty((4, len(x)), x.dtype)
    kernel.silu_table(x, len(x), 3, s)
    return s


def silu_to_fifty_digits(c):
    """Derivatives 0..3, and the scales that errors are measured by: sizes of the terms that sum to them."""
    x = mpmath.mpf(c)
    series = spec.silu([x, mpmath.mpf(1), mpmath.mpf(0), mpmath.mpf(0)])
    s, rest = 1 / (1 + mpmath.exp(-x)), 1 / (1 + mpmath.exp(x))
    bend = s * rest * (1 + abs(x))
    return [b * mpmath.factorial(m) for m, b in enumerate(series)], [abs(x) * s, s * (1 + abs(x) * rest), bend, bend]


@pytest.mark.parametrize("dtype", ULP)
def test_silu_is_exact_to_a_few_ulps(dtype):
    """4 ulps of x s, s (1 + |x| s'), s s' (1 + |x|) with s = sigma(x), s' = sigma(-x), on [-700, 700]."""
    rng = np.random.default_rng(5)
    reach = 700 if dtype is np.float64 else 80
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.concatenate([np.linspace(-reach, reach, 57), rng.uniform(-40, 40, 100), rng.normal(size=100)])
    x = np.concatenate([x, [tiny, -tiny, 3 * tiny, np.finfo(dtype).tiny, -1.2784645427610738]]).astype(dtype)
    with mpmath.workdps(50):
        for c, computed in zip(x.tolist(), silu_table(x).T.tolist()):
            for value, exact, scale in zip(computed, *silu_to_fifty_digits(c)):
                assert abs(mpmath.mpf(value) - exact) <= 4 * ULP[dtype] * scale + float(tiny)


def test_silu_at_the_ends():
    x = np.array([0.0, -0.0, np.nan, 745.0, 1e5, -745.0, -1000.0, -1e5])
    s = silu_table(x)
    assert_array_equal(np.signbit(s[0, :2]), [False, True])
    assert np.isnan(s[:, 2]).all() and not np.isnan(np.delete(s, 2, 1)).any()
    assert_array_equal(s[0, 3:5], x[3:5])
    assert_array_equal(s[1, 3:5], 1)
    assert (np.abs(s[:, 5:]) <= np.abs(x[5:]) * np.exp(-700)).all()  # where e^x underflows


# ----------------------------------------------------------------------------------------------- fused against generic


def problem(N, P, Q, D, degree, base, seed, outside="zero", dtype=np.float64):
    """basis (first row uniform, the others not), z, W, V, y_bar."""
    rng = np.random.default_rng(seed)
    knots = BSpline.uniform(P, 4, degree).knots.copy()
    knots[1:] += rng.uniform(-0.1, 0.1, knots[1:].shape)
    basis = BSpline(knots, degree, outside)
    z = rng.normal(size=(1 + 2 * D, N, P)).astype(dtype)
    W = rng.normal(size=(Q, P, basis.size)).astype(dtype)
    V = rng.normal(size=(Q, P, 1)).astype(dtype) if base else None
    return basis, z, W, V, rng.normal(size=(1 + 2 * D, N, Q)).astype(dtype)


def generic_forward(basis, z, W, V):
    y = 0
    for b, w in ((basis, W), (bases.silu, V)):
        if w is not None:
            first, values = b.derivatives(z[0], jets.order(z))
            y = y + terms.mix(first, jets.lift(values, z), w)
    return y


def generic_pullback(basis, z, W, V, y_bar):
    z_bar, adjoints = 0, []
    for b, w in ((basis, W), (bases.silu, V)):
        if w is None:
            adjoints.append(None)
            continue
        first, values = b.derivatives(z[0], jets.order(z) + 1)
        w_bar, F_bar = terms.mix_pullback(first, jets.lift(values, z), w, y_bar)
        adjoints.append(w_bar)
        z_bar = z_bar + jets.lift_pullback(values, z, F_bar)
    return *adjoints, z_bar


def assert_paths_agree(basis, z, W, V, y_bar, tolerance=1e-13):
    assert relative(terms.spline_forward(basis, z, W, V), generic_forward(basis, z, W, V)) <= tolerance
    fused, generic = terms.spline_pullback(basis, z, W, V, y_bar), generic_pullback(basis, z, W, V, y_bar)
    for a, b in zip(fused, generic):
        assert (a is None) == (b is None)
        if a is not None:
            assert relative(a, b) <= tolerance
    without = terms.spline_pullback(basis, z, W, V, y_bar, inputs=False)
    assert without[2] is None
    assert_array_equal(without[0], fused[0])


DEGREES = [(1, True), (2, True), (3, True), (3, False), (5, True)]
every_kernel = pytest.mark.parametrize(("degree", "base"), DEGREES)


@every_kernel
@pytest.mark.parametrize("D", [0, 1, 2, 3])
@pytest.mark.parametrize("Q", [1, 2, 3, 4, 5, 8, 9, 17])
def test_fused_and_generic_path_agree(degree, base, D, Q):
    for N in (1, 63, 64, 65):
        for outside in ("zero", "linear", "clamp"):
            assert_paths_agree(*problem(N, 2, Q, D, degree, base, [degree, D, Q, N], outside))


@every_kernel
@pytest.mark.parametrize(("D", "Q"), [(0, 1), (0, 5), (2, 3), (2, 4)])
@pytest.mark.parametrize("N", [kernel.BLOCK - 1, kernel.BLOCK, kernel.BLOCK + 1, kernel.TILE + 1, 1030])
def test_fused_and_generic_path_agree_beyond_a_block(degree, base, D, Q, N):
    assert_paths_agree(*problem(N, 3, Q, D, degree, base, [degree, D, Q, N]))


@pytest.mark.parametrize("Q", [2, 9])
def test_fused_and_generic_path_agree_in_float32(Q):
    """To 1e-5 of the largest entry, float32 in and out; and so do float32 and float64."""
    basis, z, W, V, y_bar = problem(65, 3, Q, 2, 3, True, 6, dtype=np.float32)
    assert_paths_agree(basis, z, W, V, y_bar, tolerance=1e-5)
    y, adjoints = terms.spline_forward(basis, z, W, V), terms.spline_pullback(basis, z, W, V, y_bar)
    assert {a.dtype for a in (y, *adjoints) if a is not None} == {np.dtype(np.float32)}
    double = problem(65, 3, Q, 2, 3, True, 6)
    assert relative(y, terms.spline_forward(*double[:4])) <= 1e-5


@every_kernel
@pytest.mark.parametrize("Q", [3, 8])
def test_the_pullback_is_the_adjoint_of_the_forward_map_in_the_weights(degree, base, Q):
    basis, z, W, V, y_bar = problem(70, 2, Q, 1, degree, base, 7)
    check_adjoint(
        lambda W: terms.spline_forward(basis, z, W, None if V is None else 0 * V),
        lambda y_bar: terms.spline_pullback(basis, z, W, V, y_bar)[0],
        W,
        y_bar,
    )


@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
@pytest.mark.parametrize("base", [True, False])
@pytest.mark.parametrize(("D", "Q"), [(0, 1), (0, 6), (2, 1), (2, 6)])
def test_nan_stays_with_its_sample(outside, base, D, Q):
    for p in (0, 1):  # a uniform row of knots, and another
        basis, z, W, V, y_bar = problem(70, 2, Q, D, 3, base, 8, outside)
        y, z_bar = terms.spline_forward(basis, z, W, V), terms.spline_pullback(basis, z, W, V, y_bar)[2]
        z[0, 66, p] = np.nan
        y_nan, z_bar_nan = terms.spline_forward(basis, z, W, V), terms.spline_pullback(basis, z, W, V, y_bar)[2]
        assert np.isnan(y_nan[:, 66]).all() and np.isnan(z_bar_nan[:, 66, p]).all()
        others = np.arange(70) != 66
        assert_array_equal(y_nan[:, others], y[:, others])
        assert_array_equal(z_bar_nan[:, others], z_bar[:, others])
        assert_array_equal(z_bar_nan[:, 66, 1 - p], z_bar[:, 66, 1 - p])


# ------------------------------------------------------------------------------------------- narrow against layered


def narrow_problem(widths, N, base="silu", outside="zero", seed=11):
    """A network whose knots are uneven but for the first input of each layer, theta, x, y."""
    rng = np.random.default_rng(seed)
    layers = []
    for P, Q in zip(widths, widths[1:]):
        basis = problem(1, P, Q, 0, 3, False, seed + P, outside)[0]
        layers.append(spline_layer(P, Q, basis, base=base))
    net = KAN(tuple(layers))
    return net, 0.5 * rng.normal(size=net.size), rng.normal(size=(N, widths[0])), rng.normal(size=(N, widths[-1]))


def layered_squared_error(net, theta, x, y):
    f, tape = net.forward(theta, x[None])
    r = f[0] - y
    return np.vdot(r, r) / r.size, net.pullback(theta, tape, 2 / r.size * r[None])[0]


@pytest.mark.parametrize("base", ["silu", None])
@pytest.mark.parametrize("widths", [(1, 1), (2, 5, 1), (3, 3), (4, 9, 2, 3), (1, 17, 1)], ids=str)
def test_narrow_and_layered_squared_error_agree(widths, base):
    sizes = {1, 63, 64, 65, kernel.PART - 1, kernel.PART, kernel.PART + 1, narrow.PART + 1, 1030}
    for N, outside in zip(sorted(sizes), 3 * ("zero", "linear", "clamp")):
        net, theta, x, y = narrow_problem(widths, N, base, outside)
        assert net._narrow is not None
        (value, gradient), (by_layers, exact) = net.squared_error(theta, x, y), layered_squared_error(net, theta, x, y)
        assert_allclose(value, by_layers, rtol=1e-13)
        assert relative(gradient, exact) <= 1e-13


@pytest.mark.parametrize("base", ["silu", None])
def test_a_narrow_network_that_has_diverged_says_so(base):
    """Numbers that overflowed index nothing: the value is not finite, and the process lives."""
    net, theta, x, y = narrow_problem((2, 5, 1), 70, base)
    x[66] = np.nan
    assert np.isnan(net.squared_error(theta, x, y)[0])
    for bad in (np.nan, np.inf):
        assert not np.isfinite(net.squared_error(np.full_like(theta, bad), x[:66], y[:66])[0])


@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
@pytest.mark.parametrize("degree", range(narrow.MOST_DEGREE + 1))
def test_pieces_are_the_basis_functions(degree, outside):
    """Values and three derivatives, at knots and ends too: the same piece, and its polynomial to rounding."""
    rng = np.random.default_rng(degree)
    for knots in knot_rows(degree, rng).values():
        if not knots[degree] < knots[-degree - 1]:
            continue
        basis, x = BSpline(knots[None], degree, outside), points(knots, degree, rng, 40)
        (breaks, origin, first, A), where, u = basis.pieces(np.float64), np.empty(len(x), np.int64), np.empty(len(x))
        for low in range(0, len(x), kernel.JETS):
            part = slice(low, low + kernel.JETS)
            own = x[part], len(x[part]), breaks[0], origin[0], basis.steps[0], where[part], u[part]
            kernel.locate(*own)
        starts, values = basis.derivatives(x[:, None], 3)
        for m in range(4):
            power = [np.polynomial.Polynomial([0] * j + [1]).deriv(m)(u) if m else u**j for j in range(degree + 1)]
            found, exact = np.zeros((2, len(x), basis.size))
            rows = np.arange(len(x))[:, None], np.arange(degree + 1)
            found[rows[0], first[0, where][:, None] + rows[1]] = np.einsum("jn,nji->ni", np.array(power), A[0, where])
            exact[rows[0], starts + rows[1]] = values[m, :, 0]
            assert np.abs(found - exact).max() <= 1e-13 * max(np.abs(exact).max(), 1e-300)


def by_layers(net, theta, z, y_bar):
    """y, theta_bar, z_bar and the rows, layer by layer."""
    tape, arrays = [], net.of_layers(theta)
    for layer, own in zip(net.layers, arrays):
        z, record = layer.forward(own, z)
        tape.append(record)
    return z, *net.pullback(theta, tape, y_bar, inputs=True), net.rows(theta, tape, y_bar)


def narrow_jets(net, theta, z, y_bar):
    y, tape = net.forward(theta, z)
    assert isinstance(tape, narrow.Passage)
    return y, *net.pullback(theta, tape, y_bar, inputs=True), net.rows(theta, tape, y_bar)


def jet_problem(widths, N, D, base="silu", outside="zero", dtype=np.float64):
    net, theta, _, _ = narrow_problem(widths, N, base, outside)
    rng = np.random.default_rng([N, D])
    z, y_bar = (rng.normal(size=(1 + 2 * D, N, width)).astype(dtype) for width in (widths[0], widths[-1]))
    z[:, :, 0] = np.where(np.arange(1 + 2 * D)[:, None] % 2, 0, z[:, :, 0])  # along some directions it does not move
    return net, theta.astype(dtype), z, y_bar


@pytest.mark.parametrize("base", ["silu", None])
@pytest.mark.parametrize("widths", [(1, 1), (2, 5, 1), (3, 3), (4, 9, 2, 3)], ids=str)
def test_narrow_and_layered_jets_agree(widths, base):
    sizes = (1, 65, kernel.JETS - 1, kernel.JETS, kernel.JETS + 1, narrow.PART + 1, 2 * narrow.PART)
    for n, N in enumerate(sizes):
        arguments = jet_problem(widths, N, 1 + n % 3, base, ("zero", "linear", "clamp")[n // 2 % 3])
        for found, layered in zip(narrow_jets(*arguments), by_layers(*arguments)):
            assert relative(found, layered) <= 1e-13


@pytest.mark.parametrize("degree", [1, 2, narrow.MOST_DEGREE])
def test_narrow_and_layered_jets_agree_at_knots_in_every_degree(degree):
    """The highest derivatives jump there, so both must take the same side."""
    rng = np.random.default_rng(degree)
    for outside in ("zero", "linear", "clamp"):
        net = kan([1, 3, 1], intervals=4, degree=degree, outside=outside)
        knots = net.layers[0].terms["spline"].basis.knots[0]
        z, y_bar = rng.normal(size=(2, 3, len(knots), 1))
        z[0, :, 0] = knots
        arguments = net, rng.normal(size=net.size), z, y_bar
        for found, layered in zip(narrow_jets(*arguments), by_layers(*arguments)):
            assert relative(found, layered) <= 1e-13


def test_narrow_jets_in_float32():
    arguments = jet_problem((2, 5, 1), 200, 2, dtype=np.float32)
    for found, layered in zip(narrow_jets(*arguments), by_layers(*arguments)):
        assert found.dtype == np.float32
        assert relative(found, layered) <= 2e-5


def test_wide_fine_or_high_networks_go_layer_by_layer():
    for net in (kan([2, 50, 1]), kan([2, 5, 1], intervals=2000), kan([2, 5, 1], degree=narrow.MOST_DEGREE + 1)):
        _, tape = net.forward(net.init(0), jets.seed(np.zeros((3, 2)), np.eye(2)))
        assert not isinstance(tape, narrow.Passage)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_overflows_stays_with_its_sample_in_narrow_jets(bad):
    net, theta, z, y_bar = jet_problem((2, 5, 1), 200, 2)
    y, tape = net.forward(theta, z)
    z_bar = net.pullback(theta, tape, y_bar, inputs=True)[1]
    z[0, 150, 1] = bad
    y_bad, tape = net.forward(theta, z)
    theta_bar_bad, z_bar_bad = net.pullback(theta, tape, y_bar, inputs=True)
    others = np.arange(200) != 150
    assert_array_equal(y_bad[:, others], y[:, others])
    assert_array_equal(z_bar_bad[:, others], z_bar[:, others])
    if abs(bad) == 1e300:
        assert np.isfinite(y_bad).all() and np.isfinite(theta_bar_bad).all()
    else:
        assert not np.isfinite(y_bad[:, 150]).all()


# -------------------------------------------------------------------------------------------------- threads and splits


SPLITS = {  # N, P, Q, D: what `terms` chooses for them
    "forward by smaller parts, pullback by inputs": (600, 40, 7, 0),
    "forward by tiles, pullback by samples": (9000, 3, 5, 0),
    "narrow jets": (6000, 2, 2, 2),
}
every_split = pytest.mark.parametrize("size", SPLITS.values(), ids=SPLITS)


def results(size):
    """y, W_bar, V_bar, z_bar."""
    basis, z, W, V, y_bar = problem(*size, 3, True, 9)
    return terms.spline_forward(basis, z, W, V), *terms.spline_pullback(basis, z, W, V, y_bar)


def squared_error():
    net, *arguments = narrow_problem((2, 5, 1), 4000)
    return net.squared_error(*arguments)


def jets_of_a_network():
    return narrow_jets(*jet_problem((2, 5, 1), 4000, 2))


@every_split
def test_splits_agree_with_one_thread_of_work(size, monkeypatch):
    """The same bits for y, z_bar and for weights split by inputs; weights split by samples agree to rounding."""
    N, P, Q, D = size
    assert (1 + 2 * D) * N * P * Q * 4 > terms.PARALLEL_WORK
    split = results(size)
    monkeypatch.setattr(terms, "PARALLEL_WORK", np.inf)
    whole = results(size)
    for a, b in zip(split[::3], whole[::3]):
        assert_array_equal(a, b)
    for a, b in zip(split[1:3], whole[1:3]):
        if P >= terms.MANY_INPUTS:
            assert_array_equal(a, b)
        assert_allclose(a, b, rtol=0, atol=1e-13 * np.abs(b).max())


def test_a_split_squared_error_agrees_with_the_whole(monkeypatch):
    value, gradient = squared_error()
    monkeypatch.setattr(narrow, "PARALLEL_WORK", np.inf)
    whole, gradient_of_whole = squared_error()
    assert value != whole or not np.array_equal(gradient, gradient_of_whole)  # it was split
    assert_allclose(value, whole, rtol=1e-13)
    assert relative(gradient, gradient_of_whole) <= 1e-13


def test_split_jets_agree_with_the_whole(monkeypatch):
    split = jets_of_a_network()
    monkeypatch.setattr(narrow, "PARALLEL_WORK", np.inf)
    whole = jets_of_a_network()
    for a, b in zip((split[0], split[2]), (whole[0], whole[2])):
        assert_array_equal(a, b)
    assert not np.array_equal(split[1], whole[1])  # it was split
    assert relative(split[1], whole[1]) <= 1e-13


def every_result():
    jobs = squared_error, jets_of_a_network, *(lambda size=size: results(size) for size in SPLITS.values())
    return [a for job in jobs for a in job()]


def test_two_threads_give_the_bits_of_one(threads_agree):
    threads_agree(__file__, every_result)
