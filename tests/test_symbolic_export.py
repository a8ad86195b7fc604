"""Code that stands alone computes what the network computes: inside the domain, on its ends, beyond them, and where it is not
defined."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases
from kanref.bases import BSpline, Chebyshev, MinMax
from kanref.edges import Symbolic
from kanref.functions import LIBRARY, Function
from kanref.mlp import mlp
from kanref.network import KAN, Layer, kan
from kanref.nodes import AFFINE, Nodes
from kanref.symbolic.compile import compile_expression
from kanref.symbolic.export import to_c, to_latex, to_numpy
from kanref.symbolic.formula import formula
from kanref.terms import Linear
from kanref.weights import Full, Masked, Scaled

KNOTS = np.array([[-1, -1, -1, -0.5, 0, 0, 0.7, 1, 1, 1], [-1, -0.9, -0.8, -0.5, 0, 0.1, 0.7, 1, 1.1, 1.2]])
SINC = Function.from_formula("si nc!", "sin(x)/x", domain=((-np.inf, 0), (0, np.inf)))
CONSTANT = Function.from_formula("three", "3 + 0*x")
NUMBERS = Function.from_formula("numbers", "pi*x + E + log(2)*x + sqrt(2)*EulerGamma")  # no macros of them in C99
EVERY = [*LIBRARY.values(), SINC, CONSTANT, NUMBERS]


def splines(basis):
    return Layer({"spline": Linear(basis, Full((3, 2, basis.size)))})


NETS = {
    **{
        f"degree {d}, {outside}": kan(
            [2, [2, 2], [1, [3]]], intervals=4, degree=d, outside=outside, affine=AFFINE, bias=True
        )
        for outside, d in [
            ("zero", 0),
            ("zero", 1),
            ("zero", 3),
            ("zero", 5),
            ("linear", 0),
            ("linear", 2),
            ("clamp", 3),
        ]
    },
    **{f"knots, {outside}": KAN((splines(BSpline(KNOTS, 2, outside)),)) for outside in ("zero", "linear", "clamp")},
    "input maps": kan([2, 3, 1], inputs=MinMax([-2, -2], [2, 1]), normalise="tanh", scaled=True),
    "sigmoid": kan([2, 1], inputs="sigmoid", base="sin"),
    "MLP": mlp([2, 4, 1], "relu"),
    "Chebyshev": KAN(
        (Layer({"T": Linear(Chebyshev(5), Full((3, 2, 6)))}), Layer({"T": Linear(Chebyshev(0), Full((2, 3, 1)))}))
    ),
    "library": KAN((Layer({"f": Symbolic((len(EVERY), 2), tuple((i, i % 2, f) for i, f in enumerate(EVERY)))}),)),
    "mixed": KAN(
        (
            Layer(
                {
                    "base": Linear(bases.silu, Masked(Full((3, 2, 1)), np.eye(3)[:, :2])),
                    "spline": Linear(BSpline.uniform(2, 4, 3), Scaled(Masked(Full((3, 2, 7)), np.eye(3)[:, :2]))),
                    "symbolic": Symbolic((3, 2), ((2, 0, LIBRARY["sqrt"]), (2, 1, LIBRARY["tan"]))),
                },
                nodes=Nodes((1, 2), ("node_bias",), {"subnode_scale": np.array([2.0, 3.0, 4.0])}),
            ),
        )
    ),
    "switched off": KAN((Layer({"base": Linear(bases.silu, Masked(Full((1, 2, 1)), np.zeros((1, 2))))}),)),
}
every_net = pytest.mark.parametrize("net", NETS.values(), ids=NETS)
compiler = shutil.which("cc")
needs_compiler = pytest.mark.skipif(compiler is None, reason="no C compiler")


def data(net):
    """theta, points inside and outside the domains, on knots; and the network's values."""
    rng = np.random.default_rng(0)
    theta, x = rng.normal(size=net.size), rng.uniform(-3, 3, (200, 2))
    basis = getattr(next(iter(net.layers[0].terms.values())), "basis", None)
    x = np.concatenate([x, basis.knots.T, [[0, 0]]]) if isinstance(basis, BSpline) else np.concatenate([x, [[0, 0]]])
    return theta, x, net(theta, x)


def python(source, name="kan"):
    """The function of generated source; it sees nothing but what it imports."""
    space = {}
    exec(source, space)  # the source is ours
    return space[name]


def compiled(source, folder, net, name="kan"):
    """The function of generated C, samples by samples."""
    (folder / "kan.c").write_text(source)
    flags = "-std=c99 -O2 -Wall -Wextra -pedantic -Werror -shared -fPIC -o kan.so kan.c -lm".split()
    done = subprocess.run([compiler, *flags], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    call = getattr(ctypes.CDLL(str(folder / "kan.so")), name)
    pointer = ctypes.POINTER(ctypes.c_double)

    def f(x):
        x, y = np.ascontiguousarray(x), np.empty((len(x), net.outputs))
        for row, out in zip(x, y):
            call(row.ctypes.data_as(pointer), out.ctypes.data_as(pointer))
        return y

    return f


def agree(y, wanted):
    assert_array_equal(np.isnan(y), np.isnan(wanted))
    assert_allclose(y, wanted, rtol=1e-12, atol=1e-12)


@every_net
def test_numpy_agrees(net):
    theta, x, y = data(net)
    agree(python(to_numpy(net, theta))(x), y)


@needs_compiler
@every_net
def test_c_compiles_and_agrees(net, tmp_path):
    theta, x, y = data(net)
    agree(compiled(to_c(net, theta), tmp_path, net)(x), y)


@needs_compiler
def test_beyond_an_edge_that_must_not_be_left(tmp_path):
    """The network raises; code says NaN."""
    net = kan([1, 1], outside="error")
    theta, x = net.init(0), np.array([[-1.0], [0.3], [1.0], [1.001], [-7.0]])
    for f in (python(to_numpy(net, theta)), compiled(to_c(net, theta), tmp_path, net)):
        assert_array_equal(np.isnan(f(x))[:, 0], [False, False, False, True, True])
        assert_allclose(f(x[:3]), net(theta, x[:3]), atol=1e-14)


@needs_compiler
@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
def test_nan_passes_through(outside, tmp_path):
    """Where one layer is not defined, what follows is not either."""
    first = Layer({"f": Symbolic((2, 1), ((0, 0, LIBRARY["log"]), (1, 0, LIBRARY["sgn"])))})
    net = KAN((first, *kan([2, 2, 1], outside=outside).layers))
    theta, x = np.random.default_rng(1).normal(size=net.size), np.array([[-1.0], [0.0], [0.5], [2.0]])
    theta[:8] = [1, 0, 1, 0] * 2
    y = net(theta, x)
    assert np.isnan(y[:2]).all() and np.isfinite(y[2:]).all()
    agree(python(to_numpy(net, theta))(x), y)
    agree(compiled(to_c(net, theta), tmp_path, net)(x), y)


@needs_compiler
def test_single_precision_parameters_in_double_precision(tmp_path):
    net = kan([2, 2])
    theta, x = np.random.default_rng(2).normal(size=net.size).astype(np.float32), np.array([[0.1, -0.4]])
    y = net(theta.astype(np.float64), x)
    agree(python(to_numpy(net, theta))(x), y)
    agree(compiled(to_c(net, theta), tmp_path, net)(x), y)


def test_imports_are_what_is_needed():
    net = kan([2, 2])
    lines = to_numpy(net, net.init(0)).split("\n")
    assert [line for line in lines if line.startswith(("import", "from"))] == ["import numpy as np"]
    net, theta = compile_expression(sympy.sympify("erf(x1)"), ["x1"])
    assert "import scipy.special" in to_numpy(net, theta)
    assert re.findall("#include.*", to_c(net, theta)) == ["#include <math.h>"] and "double j0" not in to_c(net, theta)
    net, theta = compile_expression(sympy.sympify("besselj(0, x1)"), ["x1"])
    assert "\ndouble j0(double);\n" in to_c(net, theta)


def test_names_in_code():
    net = kan([2, 1])
    source = to_numpy(net, net.init(0), names=['say "hi"', "*/ back\\slash"], name="model")
    agree(python(source, "model")(np.zeros((3, 2))), net(net.init(0), np.zeros((3, 2))))
    assert "say  hi" in source
    assert "void model(const double *x, double *y)\n{" in to_c(net, net.init(0), name="model")
    for name in ("2kan", "a-b", "", "class"):
        with pytest.raises(ValueError, match="name must be an identifier, as kan or my_model2, but it is "):
            to_numpy(net, net.init(0), name=name)
    with pytest.raises(ValueError, match="name must not be a keyword of C or a name of math.h, but it is 'double'"):
        to_c(net, net.init(0), name="double")
    with pytest.raises(ValueError, match="a name of math.h, but it is 'exp'"):
        to_c(net, net.init(0), name="exp")
    for name in ("np", "splines", "f_silu", "KNOTS1_0", "float"):
        with pytest.raises(ValueError, match=f"name must not be one that the code uses itself, but it is '{name}'; give"):
            to_numpy(net, net.init(0), name=name)


def test_generated_numpy_checks_its_columns():
    net = kan([2, 1])
    with pytest.raises(ValueError, match=r"x must have shape \(samples, 2\), but it has shape \(4, 3\)"):
        python(to_numpy(net, net.init(0)))(np.zeros((4, 3)))


def test_lines_are_not_too_long():
    net = kan([3, 5, 1])
    for source in (to_numpy(net, net.init(0)), to_c(net, net.init(0))):
        assert max(map(len, source.split("\n"))) <= 130


def test_what_cannot_be_written():
    own = bases.Pointwise("cube", (lambda x: x**3,) * 4)
    terms = KAN((Layer({"base": Linear(own, Full((1, 1, 1)))}),))
    maps = KAN((Layer({"f": Symbolic((1, 1), ((0, 0, LIBRARY["x"]),))}, normalise=own),))
    for write in (to_numpy, to_c):
        with pytest.raises(
            ValueError, match=r"no code can be written for the term 'base' of layer 0, Pointwise\(name='cube'\)"
        ):
            write(terms, np.ones(1))
        with pytest.raises(ValueError, match="no code can be written for the input map of layer 0"):
            write(maps, np.ones(4))
    zeta = Function("zeta", (np.cos,) * 4, "zeta(x)", 9)
    with pytest.raises(ValueError, match=r"function 'zeta' cannot be written as code, because zeta\(x\) has functions"):
        to_c(KAN((Layer({"f": Symbolic((1, 1), ((0, 0, zeta),))}),)), np.ones(4))


# ---------------------------------------------------------------------------------------------------------------- LaTeX


def test_latex_of_a_network_and_of_expressions():
    net, theta = compile_expression(sympy.sympify("exp(x2**2 + sin(pi*x1))"), ["x1", "x2"])
    assert to_latex(net, theta) == r"y = e^{x_{2}^{2} + \sin{\left(3.142 x_{1} \right)}}"
    assert to_latex([sympy.sympify("exp(x2**2 + sin(pi*x1))")]) == r"y = e^{x_{2}^{2} + \sin{\left(\pi x_{1} \right)}}"
    net, theta = compile_expression([sympy.Symbol("x1"), sympy.Symbol("x1") ** 2], ["x1"])
    assert to_latex(net, theta) == "\\begin{aligned}\ny_{1} &= x_{1} \\\\\ny_{2} &= x_{1}^{2}\n\\end{aligned}"


@pytest.mark.parametrize(
    "name, latex",
    [
        ("x1", "x_{1}"),
        ("x_12", "x_{12}"),
        ("T", "T"),
        ("alpha", r"\alpha"),
        ("theta2", r"\theta_{2}"),
        ("speed", r"\mathrm{speed}"),
        ("heat_flux", r"\mathrm{heat\_flux}"),
        ("50 % {a}", r"\mathrm{50\ \%\ \{a\}}"),
        (r"a\b^$", r"\mathrm{a\backslash b\wedge \$}"),
    ],
)
def test_latex_names_are_escaped(name, latex):
    net, theta = compile_expression(sympy.Symbol("x1"), ["x1"])
    assert to_latex(net, theta, names=[name]) == f"y = {latex}"


def test_latex_marks_splines():
    net = kan([1, 1])
    assert to_latex(net, net.init(0)) == r"y = \phi_{0 0 0}{\left(x_{1} \right)}"
    with pytest.raises(ValueError, match="1 edge without a formula"):
        to_latex(net, net.init(0), missing="refuse")


def test_code_of_a_compiled_formula_is_the_formula():
    """Formula, network, code: three ways to say one thing."""
    expression = sympy.sympify("sqrt((x1 - x2)**2 + 1)/x2 + atan(x1)*x2*x1")
    net, theta = compile_expression(expression, ["x1", "x2"])
    x = np.random.default_rng(3).uniform(0.5, 2, (50, 2))
    wanted = sympy.lambdify(sympy.symbols("x1 x2"), expression)(*x.T)
    assert_allclose(python(to_numpy(net, theta))(x)[:, 0], wanted, rtol=1e-13)
    assert sympy.simplify(formula(net, theta)[0] - expression) == 0
