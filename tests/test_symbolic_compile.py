"""Networks made of expressions: they compute them, with one function on every edge and one node for what repeats."""

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose

from kanref.functions import LIBRARY, Function
from kanref.objectives import mse
from kanref.symbolic.certificate import certificate, function
from kanref.symbolic.compile import compile_expression
from kanref.symbolic.formula import formula, symbols

NAMES = ["x1", "x2", "x3", "x4"]
X = np.random.default_rng(0).uniform(0.1, 1, (200, 4))
EXPRESSIONS = [
    "x1",
    "5",
    "0*x1",
    "pi*x3 - sqrt(2)",
    "x1*x2",
    "-3*x1*x2*x3*x4 + 1",
    "x1/x2",
    "x1**2 + x1",
    "(x1**2 + x1)*x2*(x3 + 1)",
    "exp(sin(pi*x1) + x2**2)",
    "exp(besselj(0, 20*x1) + x2**2)",
    "sqrt((x1 - x2)**2 + (x3 - x4)**2)",
    "(x1 + x2)/(1 + x1*x2)",
    "tanh(5*(x1**4 + x2**4 + x3**4 - 1))",
    "1/sqrt(2*pi)*exp(-(x1 - x2)**2/(2*x3**2))/x3",
    "x1**x2 + 2**x3",
    "x1**7 + x1**Rational(1, 3) + x2**-6 + x3**2.5 + x4**-1.5",
    "x1*(1 + x2*(1 + x3*(1 + x4)))",
    "sin(x1)*exp(sin(x1)) + sin(x1)",
    "exp(x1**2) + x1**2 + x1",
    "0.1*(x1 + x2) + 0.3*x1 + sin(0.1*x1 + 0.2*x2) + exp(x1 + 2*x2)",
    "(x1 + x2)**2*(x1 + x2 + 3)/7",
    "asin(x1/2) + acos(x2/2)*atan(x3) + asinh(x1) + sinh(x2) + cosh(x2) + Abs(x1 - x2) + sign(x3 - 1/2)",
    "erf(x1) + log(x2) + tan(x1) + atanh(x2/3) + x3**1.5*x4**-0.5",
    "1/(1 + x1)**2 + (x1 - x2)**-3",
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_the_network_computes_the_expression(text):
    expression = sympy.sympify(text)
    net, theta = compile_expression(expression, NAMES)
    wanted = function([expression], symbols(4))(X)
    assert_allclose(net(theta, X), wanted, rtol=1e-12, atol=1e-12)
    assert net.inputs == 4 and set(layer_kinds(net)) == {"symbolic"}


def layer_kinds(net):
    return [name for layer in net.layers for name in layer.terms]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_there_and_back(text):
    """The formula of the compiled network is the expression, and says so itself."""
    net, theta = compile_expression(sympy.sympify(text), NAMES)
    assert certificate(formula(net, theta), net, theta, X).data_relative < 1e-13
    again = compile_expression(formula(net, theta)[0], NAMES)
    assert_allclose(again[0](again[1], X), net(theta, X), rtol=1e-12, atol=1e-12)


def test_every_function_of_the_library():
    u = sympy.Symbol("x1")
    for f in LIBRARY.values():
        net, theta = compile_expression(3 * f.sympy(u / 2 + sympy.Rational(1, 4)) - 1, ["x1"])
        x = np.linspace(0.1, 1, 20)
        assert_allclose(net(theta, x)[:, 0], 3 * f(x / 2 + 0.25) - 1, rtol=1e-13)


@pytest.mark.parametrize(
    "text, widths",
    [
        ("x1", (1, 1)),
        ("x1*x2", (2, 1)),
        ("x1/x2", (2, 1)),
        ("exp(x2**2 + sin(pi*x1))", (2, 1, 1)),
        ("sqrt((x1 - x2)**2 + (x3 - x4)**2)", (4, 2, 1, 1)),
        ("(x1 + x2)*(x1 - x2)*x3", (3, 1)),
        ("exp(3*x1 + 6*x2) + sin(x1 + 2*x2)", (2, 1, 2, 1)),  # two functions of the one node x1 + 2 x2 need a level
        ("sin(x1*x2) + exp(x1*x2)*x3", (3, 2, 2, 1)),
        ("x1**2 + x1", (1, 2, 1)),
    ],
)
def test_networks_are_small(text, widths):
    expression = sympy.sympify(text)
    net, _ = compile_expression(expression, sorted(map(str, expression.free_symbols)))
    assert net.widths == widths


def test_what_repeats_is_computed_once():
    x = sympy.Symbol("x1")
    e = x
    for _ in range(8):  # 2^8 nodes without sharing
        e = sympy.sin(e, evaluate=False) * sympy.exp(e, evaluate=False)
    net, theta = compile_expression(e, [x])
    assert net.widths == (1,) * 9
    assert np.isfinite(net(theta, np.array([[0.5]]))).all()


def test_several_outputs_share_their_nodes():
    expressions = [sympy.sympify(t) for t in ("exp(x1*x2)", "x1*x2", "x1", "2", "exp(x1*x2)")]
    net, theta = compile_expression(expressions, NAMES[:2])
    wanted = function(expressions, symbols(2))(X[:, :2])
    assert_allclose(net(theta, X[:, :2]), wanted, rtol=1e-14)
    assert net.widths == (2, 3, 5)


def test_variables_by_column():
    net, theta = compile_expression(sympy.sympify("T - p"), ["p", "unused", sympy.Symbol("T")])
    assert_allclose(net(theta, np.array([[1.0, 9.0, 5.0]])), [[4.0]])


def test_a_compiled_network_trains():
    net, theta = compile_expression(sympy.sympify("exp(x1*x2) + sin(x3)"), NAMES[:3])
    x = X[:, :3]
    value, gradient = mse(net, x, net(theta, x) + 1)(theta)
    assert_allclose(value, 1) and np.abs(gradient).max() > 0.1


def test_functions_of_ones_own():
    sinc = Function.from_formula("sinc", "sin(x)/x", domain=((-np.inf, 0), (0, np.inf)))
    x = sympy.Symbol("x1")
    net, theta = compile_expression(2 * sympy.Function("sinc")(3 * x) + 1, [x], library={"sinc": sinc})
    assert_allclose(net(theta, X[:, :1]), 2 * np.sin(3 * X[:, :1]) / (3 * X[:, :1]) + 1)


@pytest.mark.parametrize(
    "text, error, message",
    [
        (
            "gamma(x1)",
            ValueError,
            r'no function .* computes gamma\(x1\); .*library=\{"gamma": Function.from_formula\("gamma"',
        ),
        ("Max(x1, x2)", ValueError, r"no function of the library computes Max\(x1, x2\)"),
        ("besselj(1, x1)", ValueError, r"computes besselj\(1, x1\)"),
        ("x1 + x9 + z", ValueError, "variables must name every symbol of the expression, but x9, z is missing"),
        ("I*x1", ValueError, "numbers in expressions must be real and finite, but one is I"),
        ("x1 + oo", ValueError, "numbers in expressions must be real and finite, but one is oo"),
        ("x1 < 2", TypeError, "expressions must be sympy expressions, but one is x1 < 2"),
    ],
)
def test_what_cannot_be_compiled(text, error, message):
    with pytest.raises(error, match=message):
        compile_expression(sympy.sympify(text), NAMES)


def test_text_is_not_evaluated(tmp_path):
    text = f"__import__('pathlib').Path({str(tmp_path / 'made')!r}).touch() or x1"
    for given in (text, [sympy.Symbol("x1"), text]):
        with pytest.raises(TypeError, match="must be sympy expressions, but one is text; use sympy.sympify on text you trust"):
            compile_expression(given, NAMES)
    assert not list(tmp_path.iterdir())


def test_nothing_to_compile():
    with pytest.raises(ValueError, match="expressions and variables must not be empty"):
        compile_expression([], NAMES)
    with pytest.raises(ValueError, match="expressions and variables must not be empty"):
        compile_expression(sympy.Integer(1), [])
