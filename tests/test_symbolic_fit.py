"""c f(a x + b) + d: every function of the library is recovered to rounding, whatever the units, and R^2 has none."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref.functions import LIBRARY, REALS, Function
from kanref.symbolic import fit_affine
from kanref.symbolic.affine_fit import symmetries

CURVES = {name: f for name, f in LIBRARY.items() if name != "0"}
every_function = pytest.mark.parametrize("f", CURVES.values(), ids=CURVES)


def drawn(f, rng, count=300):
    """x, (a, b, c, d) and y = c f(a x + b) + d for random numbers; a x + b stays in one piece of the domain."""
    low, high = f.domain[rng.integers(len(f.domain))]
    if math.isinf(low) and math.isinf(high):
        half, middle = rng.uniform(0.8, 3), rng.uniform(-0.5, 0.5)
        ends = middle - half, middle + half
    elif math.isinf(low) or math.isinf(high):
        ends = np.array([rng.uniform(0.05, 1), rng.uniform(1.5, 4)])
        ends = low + ends if math.isinf(high) else high - ends[::-1]
    else:
        middle, half = low / 2 + high / 2, high / 2 - low / 2
        ends = middle - half * rng.uniform(0.3, 0.97), middle + half * rng.uniform(0.3, 0.97)
    scale = 10 ** rng.uniform(-2, 2)
    x = scale * (rng.uniform(-1, 1, count) + rng.uniform(-3, 3))
    a = (ends[1] - ends[0]) / np.ptp(x) * rng.choice([-1, 1])
    b = ends[0] - (a * x).min()
    c, d = rng.choice([-1, 1]) * 10 ** rng.uniform(-6, 6), rng.normal()
    d *= abs(c)
    u = np.clip(a * x + b, *ends)  # a rounding may leave the domain
    return x, (a, b, c, d), c * f(u) + d


@every_function
@pytest.mark.parametrize("seed", range(4))
def test_exact_data_are_recovered_to_rounding(f, seed):
    x, _, y = drawn(f, np.random.default_rng(seed))
    fit = fit_affine(f, x, y)
    assert np.abs(fit(x) - y).max() <= 1e-12 * np.ptp(y)
    assert 1 - 1e-15 <= fit.r2 <= 1


@every_function
def test_units_and_origins_do_not_matter(f):
    rng = np.random.default_rng(5)
    x, _, y = drawn(f, rng)
    y = y / np.ptp(y) + 0.05 * rng.normal(size=len(y))  # noise, so that R^2 says something
    fit = fit_affine(f, x, y)
    for scale, shift in ((1e-6, 0.0), (-4.0, 3.0 * np.ptp(x))):
        assert_allclose(fit_affine(f, scale * x + shift, y).r2, fit.r2, rtol=1e-5)
    for scale in (1e-12, -1e12):
        other = fit_affine(f, x, scale * (y + 0.5))
        assert_allclose(other.r2, fit.r2, rtol=1e-8)
        assert_allclose(other(x), scale * (fit(x) + 0.5), rtol=1e-4)


@pytest.mark.parametrize("amplitude", [1, 1e-2, 1e-4, 1e-12])
def test_b20_r2_is_one_for_a_perfect_sine_of_any_amplitude(amplitude):
    """Ledger B20: pykan has 1e-4 in the denominator: 0.53 for amplitude 1e-4, and 1.0000002 for amplitude 1."""
    x = np.linspace(-1, 1, 201)
    fit = fit_affine(LIBRARY["sin"], x, amplitude * np.sin(3 * x + 0.2))
    assert 1 - 1e-15 <= fit.r2 <= 1
    assert_allclose(fit.affine, [3, 0.2, amplitude, 0], rtol=1e-12, atol=1e-13 * amplitude)


def test_r2_is_the_share_of_variance_that_is_explained():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 500)
    y = np.sin(3 * x) + 0.3 * rng.normal(size=500)
    for name in ("sin", "x", "x^2", "exp", "1/x", "arcsin"):
        fit = fit_affine(LIBRARY[name], x, y)
        assert_allclose(fit.r2, 1 - ((y - fit(x)) ** 2).sum() / ((y - y.mean()) ** 2).sum(), rtol=1e-12)
        assert 0 <= fit.r2 <= 1
    line = np.polynomial.Polynomial.fit(x, y, 1)
    assert_allclose(fit_affine(LIBRARY["x"], x, y)(x), line(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("turns", [0.5, 1, 7, 25, 48])
def test_frequencies_are_found_as_far_as_samples_resolve_them(turns):
    x = np.random.default_rng(1).uniform(-1, 1, 1000)
    fit = fit_affine(LIBRARY["sin"], x, np.sin(math.pi * turns * x + 1))
    assert_allclose(fit.affine, [math.pi * turns, 1, 1, 0], rtol=1e-10, atol=1e-10)
    wave = fit_affine(LIBRARY["j0"], x, LIBRARY["j0"](20 * x))
    assert_allclose(wave.affine, [20, 0, 1, 0], rtol=1e-10, atol=1e-10)


@every_function
def test_noise_does_not_lead_astray(f):
    """The least squares is at least as good as the numbers that made the data."""
    rng = np.random.default_rng(3)
    x, _, y = drawn(f, rng)
    noisy = y + 0.03 * np.std(y) * rng.normal(size=len(y))
    fit = fit_affine(f, x, noisy)
    assert ((fit(x) - noisy) ** 2).sum() <= ((y - noisy) ** 2).sum() * (1 + 1e-9)


def test_representatives():
    x = np.random.default_rng(2).uniform(-1, 1, 300)
    fit = lambda name, y: fit_affine(LIBRARY[name], x, y)
    same = lambda found, affine: assert_allclose(found.affine, affine, rtol=1e-10, atol=1e-10)
    same(fit("x", 3 * x - 1), [1, 0, 3, -1])
    same(fit("x^2", (2 * x - 1) ** 2), [1, -0.5, 4, 0])  # |a| = 1 where a is in c already
    same(fit("x^3", (1 - 2 * x) ** 3), [1, -0.5, -8, 0])
    same(fit("1/x", 1 / (4 - 2 * x)), [1, -2, -0.5, 0])
    same(fit("sqrt", np.sqrt(8 - 4 * x)), [-1, 2, 2, 0])
    same(fit("log", np.log(6 + 3 * x)), [1, 2, 1, math.log(3)])
    same(fit("exp", np.exp(2 * x + 1)), [2, 0, math.e, 0])  # b is in c
    same(fit("sin", np.sin(-3 * x + 0.4)), [3, -0.4, -1, 0])  # a > 0, |b| <= pi/2
    same(fit("sin", np.sin(3 * x + 0.4 + 7 * math.pi)), [3, 0.4, -1, 0])
    same(fit("cos", np.cos(-3 * x)), [3, 0, 1, 0])
    same(fit("tanh", np.tanh(1 - 2 * x)), [2, -1, -1, 0])
    same(fit("arccos", np.arccos(-0.9 * x)), [0.9, 0, -1, math.pi])
    huge = 1000 + x
    assert_allclose(fit_affine(LIBRARY["exp"], huge, np.exp(2 * x))(huge), np.exp(2 * x), rtol=1e-10)


def test_symmetries_are_found():
    own = lambda name: symmetries(LIBRARY[name])
    assert [name for name in LIBRARY if own(name).constant] == ["0"]
    assert [name for name in LIBRARY if own(name).steps and name != "0"] == ["sgn"]
    assert {name for name in LIBRARY if own(name).shift} == {"0", "x", "exp"}
    powers = {name for name in LIBRARY if "x" in name and name != "exp"} | {"sqrt", "log", "abs", "sgn", "0"}
    assert {name for name in LIBRARY if own(name).scale} == powers
    one_sided = {"sqrt", "x^0.5", "x^1.5", "1/sqrt(x)", "1/x^0.5", "exp", "log"}
    assert {name for name in LIBRARY if not own(name).flip} == one_sided
    assert {name for name in LIBRARY if own(name).period} == {"sin", "cos"}
    assert [own(name).parameters for name in ("0", "x", "x^2", "exp", "log", "sin", "tanh")] == [0, 0, 1, 1, 1, 2, 2]
    assert symmetries(Function.from_formula("square of sine", "sin(x)**2")).period == math.pi


def test_a_fit_stays_in_one_piece_of_the_domain():
    x = np.linspace(-1, 1, 101)[np.arange(101) != 50]
    for name in ("1/x", "1/x^2", "tan", "log", "sqrt", "arctanh"):
        f = LIBRARY[name]
        fit = fit_affine(f, x, np.sign(x) + x)
        u = fit.a * np.linspace(-1, 1, 1001) + fit.b
        assert len(set(f.pieces(u))) == 1 and f.pieces(u)[0] >= 0
        assert np.isfinite(fit(x)).all()


@pytest.mark.parametrize("name", ["sqrt", "arcsin", "arccos", "x^1.5"])
def test_closed_ends_of_the_domain_are_reached(name):
    f = LIBRARY[name]
    x = np.linspace(*((0, 3) if f.domain[0][0] == 0 else (-1, 1)), 100)
    fit = fit_affine(f, 7 * x + 2, 3 * f(x) - 1)
    assert_allclose(fit(7 * x + 2), 3 * f(x) - 1, atol=1e-12)


@every_function
def test_constants_and_single_points(f):
    x = np.linspace(-1, 1, 50)
    fit = fit_affine(f, x, np.full(50, 0.1))
    assert (fit.c, fit.d, fit.r2) == (0, 0.1, 1) and (fit(x) == 0.1).all()
    zero = fit_affine(LIBRARY["0"], x, x)
    assert (zero.c, zero.r2) == (0, 0) and (zero(x) == zero.d).all()
    for count in (1, 2, 3):
        fit = fit_affine(f, x[:count], x[:count] ** 2)
        assert np.isfinite(fit(x[:count])).all() and fit.r2 <= 1
    fit = fit_affine(f, np.ones(5), np.arange(5.0))
    assert (fit.c, fit.d, fit.r2) == (0, 2, 0)


def test_functions_of_ones_own_are_fitted_too():
    x = np.random.default_rng(0).uniform(0.5, 3, 200)
    sinc = Function.from_formula("sinc", "sin(x)/x", domain=((-math.inf, 0), (0, math.inf)))
    bump = Function.from_formula("bump", "1/(1 + x**2)")
    entropy = Function.from_formula("entropy", "x*log(x)", domain=((0, math.inf),))
    for f, y in ((sinc, np.sin(2 * x) / x), (bump, 3 / (1 + (2 * x - 3) ** 2)), (entropy, 2 * x * np.log(3 * x))):
        assert fit_affine(f, x, y).r2 > 1 - 1e-12
    assert entropy.domain != REALS and not symmetries(entropy).scale


def test_samples_that_are_none_are_refused():
    x = np.arange(5.0)
    with pytest.raises(TypeError, match=r"function must be a Function, as kanref.functions.LIBRARY has them.*'sin'"):
        fit_affine("sin", x, x)
    with pytest.raises(ValueError, match=r"vectors of one length, one edge's samples.*\(5,\) and \(4,\)"):
        fit_affine(LIBRARY["sin"], x, x[:4])
    with pytest.raises(ValueError, match=r"shapes \(0,\) and \(0,\)"):
        fit_affine(LIBRARY["sin"], x[:0], x[:0])
    with pytest.raises(ValueError, match=r"y must be finite, but y\[1\] is nan"):
        fit_affine(LIBRARY["sin"], x[:2], [0, math.nan])
