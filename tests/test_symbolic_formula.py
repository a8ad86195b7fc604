"""Formulas of networks: exact, honest about what has no formula, and checked when they are made short."""

import re
from fractions import Fraction

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases
from kanref.bases import Chebyshev, MinMax
from kanref.edges import Symbolic
from kanref.functions import LIBRARY, Function
from kanref.mlp import mlp
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.nodes import AFFINE, Nodes
from kanref.symbolic.certificate import certificate, fill, function, nice, rounded
from kanref.symbolic.compile import compile_expression
from kanref.symbolic.formula import formula, symbols
from kanref.symbolic.piecewise import piecewise
from kanref.terms import Linear
from kanref.weights import Fixed, Full, Masked, Scaled

RNG = np.random.default_rng(0)
SINC = Function.from_formula("sinc", "sin(x)/x", domain=((-np.inf, 0), (0, np.inf)))


def edges(shape, *formulas, terms=None, **options):
    return Layer({"symbolic": Symbolic(shape, tuple((q, p, LIBRARY[f]) for q, p, f in formulas))}, **options)


def one(f, affine):
    """The network c f(a x + b) + d of one input."""
    return KAN((Layer({"symbolic": Symbolic((1, 1), ((0, 0, f),))}),)), np.array(affine, float)


def difference(expressions, net, theta, x, names=None):
    return np.abs(function(expressions, symbols(net.inputs, names))(x) - net(theta, x)).max()


# -------------------------------------------------------------------------------------------------------------- exact

NETS = {
    "formulas": KAN(
        (edges((2, 2), (0, 0, "sin"), (1, 1, "x^2"), (1, 0, "tanh")), edges((1, 2), (0, 0, "exp"), (0, 1, "x")))
    ),
    "bias, input maps": KAN(
        (
            edges((2, 2), (0, 0, "gaussian"), (1, 1, "j0"), bias=True, normalise=MinMax([-1, -2], [1, 3])),
            edges((2, 2), (0, 0, "erf"), (1, 1, "x"), bias=True, normalise=bases.sigmoid),
        )
    ),
    "base functions": KAN(
        tuple(
            Layer({f.name: Linear(f, Scaled(Full((2, 2, 1)))) for f in (f, bases.silu)}, normalise=bases.tanh)
            for f in (bases.sin, bases.sigmoid, bases.identity)
        )
    ),
    "Chebyshev": KAN((Layer({"T": Linear(Chebyshev(5), Full((2, 2, 6)))}),)),
    "products": KAN((edges((5, 2), *((s, s % 2, "x^3") for s in range(5)), nodes=Nodes((2, 3), AFFINE)),)),
    "MLP": mlp([2, 3, 1], "silu"),
    "ReLU": mlp([2, 3, 1], "relu"),
}


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_formula_is_the_network(net):
    rng = np.random.default_rng(1)
    theta, x = rng.normal(size=net.size), rng.uniform(-1, 1, (50, 2))
    assert difference(formula(net, theta), net, theta, x) < 1e-13 * (1 + np.abs(net(theta, x)).max())


def test_every_library_function_and_ones_own():
    for f in [*LIBRARY.values(), SINC]:
        net, theta = one(f, (0.3, 0.4, 2.0, -1.0))
        assert difference(formula(net, theta), net, theta, np.linspace(0.1, 1, 20)[:, None]) < 1e-13


def test_numbers_are_those_of_theta_to_the_last_bit():
    values = RNG.normal(size=4)
    (expression,) = formula(*one(LIBRARY["sin"], values))
    assert {float(f) for f in expression.atoms(sympy.Float)} == set(values)


def test_digits_are_significant_and_never_make_zeros():
    """pykan rounds decimals, divides by what has become zero, and crashes on functions it has no rule for (its issues 134, 174,
    480)."""
    for f in ("1/x", "1/x^5", "log", "arcsin", "x^1.5"):
        net, theta = one(LIBRARY[f], (1.234567e-9, 0.123456, 1.234567e-7, 9.87654e8))
        (short,) = formula(net, theta, digits=2)
        assert {float(f"{float(v):.1e}") for v in short.atoms(sympy.Float)} == {
            float(v) for v in short.atoms(sympy.Float)
        }
        assert short.has(sympy.Symbol("x1")) and short.is_finite is not False
    assert str(formula(*one(LIBRARY["arcsin"], (0.5, 0, 1, 0)))[0]) == "asin(0.5*x1)"


def test_single_precision_is_taken_as_it_is():
    net, theta = one(LIBRARY["sin"], (0.1, 0.2, 0.3, 0.4))
    (expression,) = formula(net, theta.astype(np.float32))
    assert {float(f) for f in expression.atoms(sympy.Float)} == {float(np.float32(v)) for v in theta}


# -------------------------------------------------------------------------------------------------------------- names


def test_names_in_the_order_of_the_columns():
    net, theta = compile_expression(sympy.sympify("x1/x2"), ["x1", "x2"])
    assert str(formula(net, theta, ["speed", "time"])[0]) == "speed/time"
    t = sympy.Symbol("t", positive=True)
    assert formula(net, theta, [t, "v"])[0] == t / sympy.Symbol("v")


def test_b22_variables_keep_their_numbers_after_pruning():
    net, theta = compile_expression(sympy.sympify("x1/x2"), ["x1", "x2"])
    (expression,) = formula(net, theta, names=np.array([1, 4]))
    assert str(expression) == "x2/x5"
    x = RNG.uniform(1, 2, (9, 2))
    assert certificate([expression], net, theta, x, names=[1, 4]).largest < 1e-15


def test_names_that_mean_something_in_code():
    for names in (["exp", "log"], ["lambda", "x 1"], ["I", "pi"], ["x2", "x1"]):
        net, theta = compile_expression(sympy.sympify("exp(x1)/x2"), ["x1", "x2"])
        x = np.random.default_rng(8).uniform(1, 2, (9, 2))
        found = rounded(formula(net, theta, names), net, theta, x, names=names)
        assert str(found.expressions[0]) == f"exp({names[0]})/{names[1]}" and found.after.largest < 1e-15


@pytest.mark.parametrize(
    "names, error, message",
    [
        (["a"], ValueError, "names must name each of the 2 inputs, but it has 1"),
        (["a", "a"], ValueError, "names must differ, but they are a, a"),
        (["a", None], TypeError, "names must be strings, sympy symbols or numbers of columns"),
        (["a", ""], TypeError, "names must be strings"),
    ],
)
def test_names_that_do_not_name(names, error, message):
    with pytest.raises(error, match=message):
        formula(*compile_expression(sympy.sympify("x1/x2"), ["x1", "x2"]), names=names)


# -------------------------------------------------------------------------------------- the ledger: product nodes, masks, guards


@pytest.mark.parametrize("arity", [(2,), (3,), (3, 3), (1, 4, 2), (2, 1, 3), (5,)])
def test_b17_product_nodes_of_any_arity(arity):
    """pykan's formula steps by two subnodes whatever the arity: 0.5061 for a model that computes 0.2507."""
    rng = np.random.default_rng(2)
    S = sum(arity)
    first = edges((S, 2), *((s, p, "sin") for s in range(S) for p in range(2)), nodes=Nodes(arity, AFFINE))
    net = KAN((first, edges((1, len(arity)), *((0, q, "x^2") for q in range(len(arity))))))
    theta, x = rng.normal(size=net.size), rng.uniform(-1, 1, (40, 2))
    assert_allclose(function(formula(net, theta), symbols(2))(x), net(theta, x), rtol=1e-11, atol=1e-13)


def test_b17_constant_affine_maps_are_part_of_the_formula():
    nodes = Nodes((2,), ("node_bias",), {"subnode_scale": np.array([2.0, 3.0]), "node_scale": np.array([0.5])})
    net = KAN((edges((2, 2), (0, 0, "x"), (1, 1, "x"), nodes=nodes),))
    theta = net.join({"0.symbolic.affine": [[1, 0, 1, 0]] * 2, "0.node_bias": [7.0]})
    assert sympy.expand(formula(net, theta)[0] - sympy.sympify("3*x1*x2 + 7")) == 0


def test_b18_edges_without_a_formula_are_refused_by_name():
    net = kan([2, 2, 1])
    with pytest.raises(
        ValueError, match=r"6 edges without a formula, \(layer, q, p\): \(0, 0, 0\), .* suggest, fix or auto"
    ):
        formula(net, net.init(0))
    with pytest.raises(ValueError, match=r"and 4 more"):
        formula(kan([4, 2, 2]), kan([4, 2, 2]).init(0))


def test_b18_marked_edges_are_functions_of_their_own():
    mask = np.array([[1, 0]])
    net = KAN((spline_layer(2, 1, bases.BSpline.uniform(2, 4, 3), mask=mask, bias=True),))
    theta, x = RNG.normal(size=net.size), RNG.uniform(-1, 1, (20, 2))
    (expression,) = formula(net, theta, missing="mark")
    assert str(expression).startswith("phi_0_0_0(x1)") and not expression.has(sympy.Symbol("x2"))
    values = float(net.split(theta)["0.bias"][0]) + net.edges(theta, 0, x)[:, 0, 0]
    assert_allclose(values, net(theta, x)[:, 0], atol=1e-14)
    assert expression.subs(sympy.Function("phi_0_0_0")(sympy.Symbol("x1")), 0) == net.split(theta)["0.bias"][0]
    with pytest.raises(ValueError, match="edges without a formula, phi_0_0_0; find formulas"):
        certificate([expression], net, theta, x)


def test_b18_masked_edges_contribute_exactly_nothing():
    spline = Linear(bases.BSpline.uniform(2, 4, 3), Masked(Full((1, 2, 7)), np.zeros((1, 2))))
    base = Linear(bases.silu, Masked(Full((1, 2, 1)), np.array([[0.0, 1.0]])))
    symbolic = Symbolic((1, 2), ((0, 0, LIBRARY["sin"]),))
    net = KAN((Layer({"base": base, "spline": spline, "symbolic": symbolic}),))
    theta, x = RNG.normal(size=net.size), RNG.uniform(-1, 1, (20, 2))
    assert difference(formula(net, theta), net, theta, x) < 1e-14
    zero = KAN((Layer({"spline": spline}),))
    assert formula(zero, np.ones(zero.size)) == [0]


@pytest.mark.parametrize("name", ["tan", "x^1.5", "sqrt", "exp", "1/x", "arcsin"])
def test_b19_no_guards_the_formula_is_the_function(name):
    """pykan evaluates a bent function near singularities, crashes for tan and x^1.5, and prints the unbent one."""
    net, theta = one(LIBRARY[name], (1.0, 0.0, 1.0, 0.0))
    x = np.concatenate([[1e-12, 1e-6, 0.00999, 0.01, 0.0101], np.linspace(0.05, 0.99, 30)])[:, None]
    assert certificate(formula(net, theta), net, theta, x).data_relative < 1e-14


def test_b19_functions_of_ones_own_and_points_outside_the_domain():
    net, theta = one(SINC, (1.0, 0.0, 1.0, 0.0))
    proof = certificate(formula(net, theta), net, theta, np.linspace(-3, 3, 51)[:, None])
    assert proof.largest < 1e-15 and proof.undefined == 1  # x = 0
    net, theta = one(LIBRARY["log"], (1.0, 0.0, 1.0, 0.0))
    proof = certificate(formula(net, theta), net, theta, np.array([[-1.0], [1.0], [2.0]]))
    assert proof.data == 0 and proof.undefined > 1 and "not defined at" in str(proof)
    with pytest.raises(ValueError, match="the network is not finite at any of the points"):
        certificate(formula(net, theta), net, theta, np.array([[-1.0], [-2.0]]))


def test_what_has_no_formula():
    own = bases.Pointwise("cube", (lambda x: x**3,) * 4)
    net = KAN((Layer({"base": Linear(own, Full((1, 1, 1)))}),))
    with pytest.raises(ValueError, match="1 edge without a formula"):
        formula(net, np.ones(1))
    net = KAN((edges((1, 1), (0, 0, "x"), normalise=own),))
    with pytest.raises(ValueError, match="no formula is known for the input map"):
        formula(net, np.ones(4))
    with pytest.raises(ValueError, match="missing must be one of 'refuse', 'mark', 'piecewise', but it is 'ignore'"):
        formula(net, np.ones(4), missing="ignore")


# ------------------------------------------------------------------------------------------------- piecewise polynomials

KNOTS = np.array([[-1, -1, -1, -0.5, 0, 0, 0.7, 1, 1, 1], [-1, -0.9, -0.8, -0.5, 0, 0.1, 0.7, 1, 1.1, 1.2]])
SPLINES = {
    **{f"degree {d}": bases.BSpline.uniform(2, 5, d, -1, 2) for d in (0, 1, 2, 3, 5)},
    **{outside: bases.BSpline.uniform(2, 5, 3, -1, 2, outside) for outside in ("linear", "clamp")},
    **{f"knots, {outside}": bases.BSpline(KNOTS, 2, outside) for outside in ("zero", "linear", "clamp")},
}


@pytest.mark.parametrize("basis", SPLINES.values(), ids=SPLINES)
def test_pieces_are_the_spline(basis):
    rng = np.random.default_rng(3)
    net = KAN((Layer({"spline": Linear(basis, Full((2, 2, basis.size)))}),))
    theta = rng.normal(size=net.size)
    x = np.concatenate([rng.uniform(-4, 5, (300, 2)), basis.knots.T])
    phi = net.edges(theta, 0, x)
    for q in range(2):
        for p in range(2):
            own = piecewise(net, theta, 0, q, p)
            assert_allclose(own(x[:, p]), phi[:, q, p], atol=1e-13)
            assert all(isinstance(b, Fraction) for b in own.breaks) and float(own.breaks[0]) in basis.knots[p]


@pytest.mark.parametrize("degree", [1, 2, 3, 5])
@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
def test_pieces_meet_smoothly(degree, outside):
    """Exactly, as fractions: derivatives below the degree agree at every break; at the ends of the domain, those that the policy
    continues."""
    basis = bases.BSpline.uniform(1, 4, degree, outside=outside)
    net = KAN((Layer({"spline": Linear(basis, Full((1, 1, basis.size)))}),))
    own = piecewise(net, np.random.default_rng(4).normal(size=net.size), 0, 0, 0)
    everywhere = {"zero": degree, "linear": min(degree, 2), "clamp": 1}[outside]
    for order in range(degree):
        for j in range(1, len(own.breaks) - 1) if order >= everywhere else range(len(own.breaks)):
            width = own.breaks[j] - own.breaks[max(j - 1, 0)]
            left = sum(c * width**i for i, c in enumerate(own.coefficients[j]))
            assert left == own.coefficients[j + 1][0]
        own = own.derivative()


def test_pieces_of_an_edge_that_must_not_be_left():
    net = kan([1, 1], outside="error", base=None)
    own = piecewise(net, net.init(0), 0, 0, 0)
    assert_array_equal(np.isfinite(own(np.array([-1.5, -1, 0, 1, 1.5]))), [False, True, True, True, False])
    assert own.derivative()(np.array([-1.5])) != own.derivative()(np.array([-1.5]))
    assert own.sympy(sympy.Integer(2)) is sympy.nan


@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
def test_formula_with_pieces(outside):
    symbolic = Layer({"symbolic": Symbolic((1, 2), ((0, 0, LIBRARY["sin"]), (0, 1, LIBRARY["exp"])))})
    net = KAN((*kan([2, 2], intervals=3, outside=outside, normalise="tanh").layers, symbolic))
    theta, x = 0.5 * RNG.normal(size=net.size), RNG.uniform(-2, 2, (60, 2))
    expressions = formula(net, theta, missing="piecewise")
    assert difference(expressions, net, theta, x) < 1e-13 * (1 + np.abs(net(theta, x)).max())
    with pytest.raises(ValueError, match="1 edge without a formula.*to_numpy and to_c export any network"):
        deep = kan([1, 1, 1])
        formula(deep, deep.init(0), missing="piecewise")


def test_edges_without_pieces():
    net, theta = one(LIBRARY["sin"], (1, 0, 1, 0))
    with pytest.raises(
        ValueError, match=r"edge \(0, 0\) of layer 0 must have one spline term to be exported, but it has 0"
    ):
        piecewise(net, theta, 0, 0, 0)
    with pytest.raises(ValueError, match="l must be from 0 to 0, but it is 1"):
        piecewise(net, theta, 1, 0, 0)


# ----------------------------------------------------------------------------------------------------------- certificates


def test_a_certificate_measures_what_it_says():
    net, theta = compile_expression(sympy.sympify("x1 + x2"), ["x1", "x2"])
    x = np.array([[0.0, 0.0], [1.0, 1.0]])
    proof = certificate([sympy.sympify("x1 + x2 + x1*x2/100")], net, theta, x)
    assert_allclose([proof.data, proof.data_relative, proof.grid], [0.01, 0.005, 0.01])
    corner = certificate([sympy.sympify("x1 + x2 + x1*(1 - x2)")], net, theta, x)
    assert corner.data == 0 and corner.grid == 1  # only the grid sees it
    assert proof.box == ((0, 1), (0, 1)) and proof.samples == 2 and proof.grid_points == 64**2
    assert re.search(r"^y = .*\n.*difference.*\n  1.0e-02 \(relative 5.0e-03\) on 2 samples\n.*4096 points", str(proof))


def test_small_outputs_are_not_hidden_by_large_ones():
    net, theta = compile_expression([sympy.sympify("1e9*x1"), sympy.sympify("1e-3*x1")], ["x1"])
    proof = certificate([sympy.sympify("1e9*x1"), sympy.Integer(0)], net, theta, np.array([[-1.0], [1.0]]))
    assert_allclose([proof.data, proof.data_relative, proof.grid_relative], [1e-3, 1, 1])


def test_certificate_with_infinite_difference():
    net, theta = compile_expression(sympy.sympify("x1"), ["x1"])
    proof = certificate([sympy.sqrt(sympy.Symbol("x1"))], net, theta, np.array([[-1.0], [1.0]]))
    assert proof.data == np.inf == proof.largest


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_points_fill_the_box(n):
    low, high = np.arange(n) - 1.0, np.arange(n) * 2.0
    points = fill(low, high, 4096)
    assert (low <= points).all() and (points <= high).all() and 3000 < len(points) < 5000
    assert_array_equal(points, fill(low, high, 4096))
    cells = {tuple(row) for row in np.floor(3.999 * (points - low) / (high - low)).astype(int)}
    assert len(cells) == min(4**n, 1024)


@pytest.mark.parametrize(
    "expressions, error, message",
    [
        ([sympy.Symbol("z")], ValueError, "the formula is in z, but the network's variables are x1"),
        ([sympy.Symbol("x1")] * 2, ValueError, "expressions must be one for each of the 1 outputs, but there are 2"),
        (["x1"], TypeError, "expressions must be sympy expressions, but they are text"),
    ],
)
def test_expressions_that_cannot_be_compared(expressions, error, message):
    net, theta = compile_expression(sympy.Symbol("x1"), ["x1"])
    with pytest.raises(error, match=message):
        certificate(expressions, net, theta, np.ones((2, 1)))


# ---------------------------------------------------------------------------------------------------------------- rounding


def regauged(net, theta, rng):
    """The same function by other numbers: every hidden node u becomes s u + t, and its readers take that back."""
    arrays = {name: a.copy() for name, a in net.split(theta).items()}
    for l, (layer, after) in enumerate(zip(net.layers, net.layers[1:])):
        own, later = arrays[f"{l}.symbolic.affine"], arrays[f"{l + 1}.symbolic.affine"]
        arity = layer.nodes.arity if layer.nodes else (1,) * layer.outputs
        for n, first in enumerate(np.cumsum((0, *arity))[:-1]):
            s, t = rng.uniform(0.3, 3) * rng.choice([-1, 1]), rng.normal() * (arity[n] == 1)
            rows = [e for e, (q, _, _) in enumerate(layer.terms["symbolic"].formulas) if q == first]
            own[rows, 2:] *= s
            own[rows[0], 3] += t
            rows = [e for e, (_, p, _) in enumerate(after.terms["symbolic"].formulas) if p == n]
            later[rows, 1] -= later[rows, 0] * t / s
            later[rows, 0] /= s
    return net.join(arrays)


TIDY = [
    "exp(x2**2 + sin(pi*x1))",
    "x1*x2",
    "sqrt((x1 - x2)**2 + (x3 - x4)**2)",
    "(x1 + x2)/(x1*x2 + 1)",
    "exp(x2**2 + besselj(0, 20*x1))",
    "3*exp(-x1**2 - 2*x2**2)",
    "tanh(5*x1**4 + 5*x2**4 + 5*x3**4 - 5)",
    "x2*cos(3*x1 + 1/2)",
    "1/(exp(-2*x1 - x2) + 1)",
    "1/4 + 0.7213*exp(-0.3312*x1)",
]


@pytest.mark.parametrize("noise", [0, 1e-9, 1e-5])
@pytest.mark.parametrize("text", TIDY)
def test_formulas_come_back_whatever_the_affine_parameters_were(text, noise):
    """Trained networks have one of many equivalent sets of numbers, and these not to the last digit."""
    rng = np.random.default_rng(5)
    names = sorted(set(re.findall(r"x\d", text)))
    net, theta = compile_expression(sympy.sympify(text), names)
    x = rng.uniform(0.1, 1, (200, len(names)))
    y = net(theta, x)
    theta = regauged(net, theta, rng)
    assert_allclose(net(theta, x), y, rtol=1e-10, atol=1e-12)
    theta = theta + noise * rng.normal(size=theta.size)
    found = rounded(formula(net, theta), net, theta, x, y=y)
    assert str(found.expressions[0]) == text
    assert found.before.data_relative < 1e-11 and found.after.data_relative < max(1e-11, 1e3 * noise)


def hello(phase, function, rng):
    """Hello world as fits find it: [2, 1, 1], each edge with an affine map of its own."""
    net = KAN((edges((1, 2), (0, 0, function), (0, 1, "x^2")), edges((1, 1), (0, 0, "exp"))))
    c, s, d1, d2, k = *rng.uniform(0.3, 2, 2), *rng.normal(size=3)
    theta = [(np.pi, phase, c, d1), (-s, 0, c / s**2, d2), (1 / c, k - (d1 + d2) / c, np.exp(-k), 0)]
    return net, np.concatenate(theta)


@pytest.mark.parametrize("with_targets", [True, False])
def test_hello_world(with_targets):
    rng = np.random.default_rng(6)
    x = rng.uniform(-1, 1, (300, 2))
    y = np.exp(np.sin(np.pi * x[:, :1]) + x[:, 1:] ** 2)
    for name, turns in (("sin", 0), ("sin", 6), ("cos", -0.5), ("cos", 7.5), ("sin", -2)):
        net, theta = hello(turns * np.pi, name, rng)
        theta = theta + 1e-10 * rng.normal(size=theta.size)
        found = rounded(formula(net, theta), net, theta, x, y=y if with_targets else None)
        assert found.expressions == (sympy.sympify("exp(x2**2 + sin(pi*x1))"),) and found.digits == (4,)
        assert str(found.expressions[0]) == "exp(x2**2 + sin(pi*x1))"
        assert found.after.largest < 1e-8 and "numbers to 4 digits" in str(found)


def test_rounding_backs_off_until_the_data_agree():
    net, theta = compile_expression(sympy.sympify("1.2345678912*x1"), ["x1"])
    x = np.linspace(0, 1, 50)[:, None]
    short = rounded(formula(net, theta), net, theta, x, digits=2)
    assert str(short.expressions[0]) == "1.23*x1" and short.digits == (3,)  # 1.2 is off by 2.8 % of the range, not 1 %
    strict = rounded(formula(net, theta), net, theta, x, digits=2, tolerance=1e-7)
    assert str(strict.expressions[0]) == "1.234568*x1"
    data = rounded(formula(net, theta), net, theta, x, digits=2, y=1.2345678912 * x)
    assert str(data.expressions[0]) == "1.2345678912*x1" and data.digits == (11,)
    noisy = rounded(formula(net, theta), net, theta, x, digits=2, y=1.2345678912 * x + 0.1 * np.sin(99 * x))
    assert str(noisy.expressions[0]) in ("1.2*x1", "1.23*x1")


@pytest.mark.parametrize(
    "value, digits, text",
    [
        (3.14159265, 4, "pi"),
        (-1.5707963, 6, "-pi/2"),
        (0.99999999998, 4, "1"),
        (0.33333333, 4, "1/3"),
        (1234.00001, 4, "1234"),
        (1.5e300, 4, None),
        (0.398942280401, 4, "sqrt(2)/(2*sqrt(pi))"),
        (1.41421356237, 4, "sqrt(2)"),
        (1.414, 4, None),
        (0.7, 4, None),
        (0.3334, 4, None),
        (3.1416, 6, None),
        (0.0, 4, "0"),
    ],
)
def test_nice_numbers(value, digits, text):
    found = nice(value, digits)
    assert (None if found is None else str(found)) == text


def test_several_outputs_are_rounded_each_by_itself():
    net, theta = compile_expression(
        [sympy.sympify("0.5000000001*x1"), sympy.sympify("1e6*0.123456789*x2")], ["x1", "x2"]
    )
    x = np.random.default_rng(7).uniform(-1, 1, (50, 2))
    found = rounded(formula(net, theta), net, theta, x, digits=3)
    assert [str(e) for e in found.expressions] == ["x1/2", "123500.0*x2"] and found.digits == (3, 4)
    assert found.after.largest < 1e-3
    assert str(found.after).count("\ny2 = ") == 1


def test_rounding_never_fails():
    """Whatever cannot be shortened comes back as it was."""
    x = np.linspace(0.01, 1, 40)[:, None]
    odd = ["5", "x1", "1/x1", "log(x1)*1e-300", "sign(x1 - 1/2)", "Abs(x1 - 0.5000001)", "exp(300*x1)*1e-20"]
    for text in (*odd, "sin(1000000*x1)"):
        net, theta = compile_expression(sympy.sympify(text), ["x1"])
        found = rounded(formula(net, theta), net, theta, x)
        assert np.isfinite(found.after.data) and found.after.data_relative < 1e-3
    net, theta = compile_expression(sympy.sympify("x1/(1.00001*x1 - x1)"), ["x1"])
    assert rounded(formula(net, theta), net, theta, x, digits=1).after.data_relative < 0.1


def test_targets_need_the_samples_rows():
    net, theta = compile_expression(sympy.Symbol("x1"), ["x1"])
    with pytest.raises(ValueError, match="y must have a row for each of the 3 samples, but it has 2"):
        rounded(formula(net, theta), net, theta, np.ones((3, 1)), y=np.ones((2, 1)))
    with pytest.raises(ValueError, match="digits must be from 1 to 15, but it is 0"):
        rounded(formula(net, theta), net, theta, np.ones((3, 1)), digits=0)
    with pytest.raises(ValueError, match="tolerance must be at least 0, but it is -1"):
        rounded(formula(net, theta), net, theta, np.ones((3, 1)), tolerance=-1)


def test_a_pointwise_constant_layer():
    net = KAN((Layer({"only": Linear(bases.sin, Fixed(np.ones((1, 2, 1))))}),))
    assert str(formula(net, np.empty(0))[0]) == "sin(x1) + sin(x2)"
