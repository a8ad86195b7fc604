"""Networks: one flat vector and its views, structure that fits, starting values, and no side effects."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases
from kanref.bases import BSpline, MinMax
from kanref.initialise import SCHEMES
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.nodes import AFFINE, Nodes
from kanref.objectives import minibatches, mse
from kanref.terms import Linear
from kanref.weights import Fixed, Full, Masked

NETS = {
    "plain": kan([2, 3, 1]),
    "scaled, bias": kan([3, 2, 2], scaled=True, bias=True, degree=2),
    "products, affine": kan([2, [2, 1], [0, [3, 2]]], affine=AFFINE, intervals=4),
    "linear first": kan([2, 5, 1], first="linear", base=None, normalise=bases.tanh),
    "masked": KAN((spline_layer(3, 2, BSpline.uniform(3, 4, 3), scaled=True, mask=[[1, 0, 1], [0, 1, 1]]),)),
    "constant": KAN((Layer({"only": Linear(bases.sin, Fixed(np.ones((2, 2, 1))))}),)),
}
every_net = pytest.mark.parametrize("net", NETS.values(), ids=NETS)


def points_for(net, rows=7, seed=0):
    return np.random.default_rng(seed).uniform(-1.2, 1.2, (rows, net.inputs))


# -------------------------------------------------------------------------------------------------- theta and its views


@every_net
def test_split_and_join_are_inverse(net):
    theta = np.random.default_rng(0).normal(size=net.size)
    assert_array_equal(net.join(net.split(theta)), theta)
    arrays = {name: np.random.default_rng(1).normal(size=shape) for name, (_, shape) in net.layout.items()}
    for name, array in net.split(net.join(arrays)).items():
        assert_array_equal(array, arrays[name])


@every_net
def test_views_tile_theta_without_copies(net):
    theta = np.zeros(net.size)
    for array in net.split(theta).values():
        array += 1
    assert_array_equal(theta, 1)
    batch = np.zeros((4, net.size))
    for array in net.split(batch).values():
        array[2] += 1
    assert_array_equal(batch.sum(1), [0, 0, net.size, 0])


@every_net
def test_the_layout_is_in_order_and_gapless(net):
    position = 0
    for start, shape in net.layout.values():
        assert start == position
        position += np.prod(shape, dtype=int)
    assert position == net.size == sum(row[-1] for row in net.table())
    assert [int(name.split(".")[0]) for name in net.layout] == sorted(int(name.split(".")[0]) for name in net.layout)


def test_the_names_and_shapes_of_the_parameters():
    net = kan([2, [1, 1], 4], scaled=True, bias=True, affine=("node_bias",), intervals=5, degree=3)
    assert {name: shape for name, (_, shape) in net.layout.items()} == {
        "0.base.W": (3, 2, 1),
        "0.spline.W": (3, 2, 8),
        "0.spline.scale": (3, 2),
        "0.bias": (3,),
        "0.node_bias": (2,),
        "1.base.W": (4, 2, 1),
        "1.spline.W": (4, 2, 8),
        "1.spline.scale": (4, 2),
        "1.bias": (4,),
        "1.node_bias": (4,),
    }


def test_writing_into_a_view_changes_the_function():
    net = kan([2, 1], base=None)
    theta, x = net.init(), points_for(net)
    before = net(theta, x)
    net.split(theta)["0.spline.W"][...] *= 3
    assert_allclose(net(theta, x), 3 * before)


@pytest.mark.parametrize(
    "theta, came",
    [
        (np.zeros(80), r"shape \(80,\) and dtype float64"),
        (np.float64(0), r"shape \(\) and dtype float64"),
        (np.zeros(81, int), "dtype int64"),
        (np.zeros(81, complex), "dtype complex128"),
        (np.zeros(81, object), "dtype object"),
        (np.zeros(81, np.float16), "dtype float16"),
    ],
)
def test_a_theta_that_does_not_fit(theta, came):
    net = NETS["plain"]
    with pytest.raises(
        ValueError, match=f"theta must hold 81 float64 or float32 numbers .*{came}; start from net.init"
    ):
        net.split(theta)
    with pytest.raises(ValueError, match=came):
        net.forward(theta, np.zeros((1, 1, 2)))


def test_join_wants_every_array_and_no_other():
    net = NETS["plain"]
    arrays = dict(net.split(net.init()))
    with pytest.raises(ValueError, match="arrays lacks 0.base.W, 1.spline.W"):
        net.join({name: a for name, a in arrays.items() if name not in ("0.base.W", "1.spline.W")})
    with pytest.raises(
        ValueError, match="arrays has 2.spline.W, which this network does not; it has 0.base.W, 0.spline.W"
    ):
        net.join({**arrays, "2.spline.W": 0})
    with pytest.raises(ValueError, match=r"0.base.W must have shape \(3, 2, 1\), but it has shape \(2, 3, 1\)"):
        net.join({**arrays, "0.base.W": np.zeros((2, 3, 1))})
    with pytest.raises(TypeError, match="0.base.W must hold real numbers, but its dtype is complex128"):
        net.join({**arrays, "0.base.W": np.zeros((3, 2, 1), complex)})
    with pytest.raises(ValueError, match=r"0.base.W must be finite, but 0.base.W\[2, 1, 0\] is nan"):
        net.join({**arrays, "0.base.W": np.array([[0, 0], [0, 0], [0, np.nan]])[..., None]})


def test_spread_puts_numbers_on_arrays():
    net = kan([2, 3, 1], scaled=True)
    views = net.split(net.spread({"W": 1, "spline.W": 2, "1.spline.W": 3, "0.spline.scale": 4}, default=-1))
    expected = {
        "0.base.W": 1,
        "0.spline.W": 2,
        "0.spline.scale": 4,
        "1.base.W": 1,
        "1.spline.W": 3,
        "1.spline.scale": -1,
    }
    assert {name: np.unique(a).tolist() for name, a in views.items()} == {name: [v] for name, v in expected.items()}
    assert_array_equal(net.spread({}), np.zeros(net.size))


@pytest.mark.parametrize("pattern", ["w", "pline.W", "2.spline.W", ""])
def test_spread_refuses_what_names_nothing(pattern):
    with pytest.raises(ValueError, match=f"no array is named {pattern!r} or ends so; there are 0.base.W, "):
        NETS["plain"].spread({pattern: 1})


# -------------------------------------------------------------------------------------------------- structure that fits


def test_layers_must_fit():
    with pytest.raises(ValueError, match="layer 0 has 3 outputs, but layer 1 takes 2 inputs; they must agree"):
        KAN((kan([2, 3]).layers[0], kan([2, 1]).layers[0]))
    with pytest.raises(ValueError, match="a network needs at least one layer"):
        KAN(())
    with pytest.raises(ValueError, match="a layer needs at least one term"):
        Layer({})
    wide, narrow = (Linear(bases.silu, Full((q, 2, 1))) for q in (3, 2))
    with pytest.raises(
        ValueError, match=r"terms of a layer must agree in \(out, in\), but they are {'a': \(3, 2\), 'b': \(2"
    ):
        Layer({"a": wide, "b": narrow})
    with pytest.raises(ValueError, match=r"nodes of arity \(1, 1\) take 2 sums, but the terms have 3 outputs"):
        Layer({"a": wide}, nodes=Nodes((1, 1)))
    with pytest.raises(ValueError, match="normalise must be a basis of one function, but it has 8"):
        Layer({"a": wide}, normalise=BSpline.uniform(2, 5, 3))


def test_terms_must_fit():
    with pytest.raises(ValueError, match=r"weights of shape \(3, 2, 4\) mix 4 functions, but the basis has 8"):
        Linear(BSpline.uniform(2, 5, 3), Full((3, 2, 4)))
    with pytest.raises(ValueError, match="take 2 inputs, but the B-splines have knots for 1"):
        Linear(BSpline.uniform(1, 5, 3), Full((3, 2, 8)))
    with pytest.raises(ValueError, match=r"mask must have shape \(out, in\) = \(3, 2\), but it has shape \(2, 3\)"):
        Masked(Full((3, 2, 4)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"W must have shape \(out, in, basis\), but it has shape \(2, 3\)"):
        Fixed(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"shape must be \(out, in, basis\), but it is \(2, 3\)"):
        Full((2, 3))
    with pytest.raises(ValueError, match="in of shape must be at least 1, but it is 0"):
        Full((2, 0, 3))


@pytest.mark.parametrize(
    "error, message, arity, trained, constants",
    [
        (ValueError, "arity must name at least one node", (), (), {}),
        (ValueError, "arity must be at least 1, but it is 0", (0,), (), {}),
        (TypeError, "arity must be an integer, but it is 1.5", (1.5,), (), {}),
        (ValueError, "affine maps are named subnode_scale, .*, but got 'scale'", (1,), ("scale",), {}),
        (ValueError, "but got 'bias'", (1,), (), {"bias": [0]}),
        (ValueError, "node_bias cannot be trained and constant at once", (1,), ("node_bias",), {"node_bias": [0]}),
        (
            ValueError,
            r"subnode_bias must have shape \(3,\), but it has shape \(2,\)",
            (1, 2),
            (),
            {"subnode_bias": [0, 0]},
        ),
        (
            ValueError,
            r"node_scale must have shape \(2,\), but it has shape \(3,\)",
            (1, 2),
            (),
            {"node_scale": [0, 0, 0]},
        ),
    ],
)
def test_nodes_must_fit(error, message, arity, trained, constants):
    with pytest.raises(error, match=message):
        Nodes(arity, trained, constants)


@pytest.mark.parametrize(
    "widths, nodes, arities",
    [
        ([2, 5, 1], (2, 5, 1), [None, None]),
        ((3, np.int64(2)), (3, 2), [None]),
        ([2, [3, 2], 1], (2, 5, 1), [(1, 1, 1, 2, 2), None]),
        ([2, [1, [2, 3]], [0, 1]], (2, 3, 1), [(1, 2, 3), (2,)]),
        ([[2, 0], [0, [4]]], (2, 1), [(4,)]),
    ],
)
def test_widths(widths, nodes, arities):
    net = kan(widths)
    assert net.widths == nodes
    assert [layer.nodes and layer.nodes.arity for layer in net.layers] == arities
    assert all(layer.sums == (sum(a) if a else layer.outputs) for layer, a in zip(net.layers, arities))


@pytest.mark.parametrize(
    "error, message, widths",
    [
        (ValueError, "widths must name at least inputs and outputs, as .2, 5, 1., but it is .2.", [2]),
        (ValueError, "widths must name at least inputs and outputs", []),
        (TypeError, "widths must be a list of levels, as .2, 5, 1., but it is 5", 5),
        (TypeError, "widths must be a list of levels, .* but it is '251'", "251"),
        (TypeError, "widths must be a list of levels, .* but it is None", None),
        (ValueError, r"widths\[1\] must be from 1 to 1000000, but it is 0", [2, 0, 1]),
        (ValueError, r"widths\[1\] must be from 1 to 1000000, but it is -3", [2, -3, 1]),
        (ValueError, r"widths\[1\] must be from 1 to 1000000, but it is 1000000000000", [2, 10**12, 1]),
        (TypeError, r"widths\[1\] must be an integer, but it is '5' \(str\)", [2, "5", 1]),
        (TypeError, r"widths\[2\] must be an integer, but it is 1.0 \(float\)", [2, 5, 1.0]),
        (TypeError, r"widths\[0\] must be an integer, but it is True \(bool\)", [True, 1]),
        (ValueError, r"the input level of widths cannot have products, but it is \[1, 1\]", [[1, 1], 1]),
        (ValueError, r"widths\[1\] has no nodes", [2, [0, 0], 1]),
        (ValueError, r"widths\[1\] must be a number or \[sums, products\], but it is \[1, 2, 3\]", [2, [1, 2, 3], 1]),
        (ValueError, r"arity in widths\[1\] must be from 2 to 100, but it is 1", [2, [1, [1]], 1]),
        (ValueError, r"sums of widths\[1\] must be from 0 to 1000000, but it is -1", [2, [-1, 2], 1]),
        (ValueError, r"products of widths\[1\] must be from 0 to 1000000, but it is 10000000", [2, [1, 10**7], 1]),
    ],
)
def test_widths_that_make_no_sense(error, message, widths):
    with pytest.raises(error, match=message):
        kan(widths)


@pytest.mark.parametrize(
    "error, message, options",
    [
        (ValueError, "intervals must be at least 1", {"intervals": 0}),
        (ValueError, "degree must be from 0 to 15, but it is 16", {"degree": 16}),
        (TypeError, "degree must be an integer, but it is '3'", {"degree": "3"}),
        (ValueError, "the domain must have finite low < high", {"domain": (1, -1)}),
        (ValueError, "the domain must have finite low < high", {"domain": (0, np.inf)}),
        (
            ValueError,
            "outside must be one of 'zero', 'linear', 'clamp', 'error', but it is 'wrap'",
            {"outside": "wrap"},
        ),
        (ValueError, "base must be one of 'silu', .*, but it is 'relu'", {"base": "relu"}),
        (ValueError, "first must be one of 'spline', 'linear', but it is 'dense'", {"first": "dense"}),
        (ValueError, "affine maps are named subnode_scale, .*, but got 'scale'", {"affine": ("scale",)}),
        (ValueError, r"make about 1\.8e\+09 parameters; at most 2e\+08 are allowed", {"intervals": 2 * 10**8}),
        (TypeError, "base must be the name of a base function, a Pointwise or None, but it is 3", {"base": 3}),
        (ValueError, "normalise must be one of 'tanh', 'sigmoid', but it is 'relu'", {"normalise": "relu"}),
        (TypeError, r"domain must be a pair of numbers \(low, high\), but it is 3", {"domain": 3}),
    ],
)
def test_builder_options_that_make_no_sense(error, message, options):
    with pytest.raises(error, match=message):
        kan([2, 3, 1], **options)


# ----------------------------------------------------------------------------------------------------- parameter counts


@pytest.mark.parametrize("intervals, parameters", [(4, 140), (8, 220), (16, 380), (32, 700)])
def test_the_poisson_networks_of_the_multilevel_paper(intervals, parameters):
    """[3, 5, 1], cubic, splines only: 20 edges with n + 3 coefficients each."""
    assert kan([3, 5, 1], intervals=intervals, base=None).size == parameters == 20 * (intervals + 3)


@pytest.mark.parametrize("intervals, parameters", [(5, 3400), (20, 9700)])
def test_the_burgers_networks_of_the_multilevel_paper(intervals, parameters):
    """[2, 20, 20, 1] with a plain matrix in front: 40 weights and 420 edges with n + 3 coefficients each."""
    net = kan([2, 20, 20, 1], intervals=intervals, base=None, first="linear")
    assert net.size == parameters == 40 + 420 * (intervals + 3)


@pytest.mark.parametrize(
    "options, parameters",
    [
        ({}, 9 * (8 + 1)),
        ({"base": None}, 9 * 8),
        ({"base": "zero"}, 9 * 8),
        ({"base": "tanh"}, 9 * 9),
        ({"scaled": True}, 9 * 10),
        ({"bias": True}, 9 * 9 + 4),
        ({"affine": AFFINE}, 9 * 9 + 4 * 4),
        ({"affine": ("node_scale",), "bias": True}, 9 * 9 + 4 + 4),
        ({"intervals": 10, "degree": 5}, 9 * (15 + 1)),
        ({"degree": 0}, 9 * (5 + 1)),
        ({"first": "linear"}, 6 + 3 * 9),
        ({"outside": "linear", "domain": (0, 3), "normalise": bases.tanh}, 9 * 9),
    ],
)
def test_what_each_option_adds(options, parameters):
    assert kan([2, 3, 1], **options).size == parameters


def test_a_product_node_has_a_sum_for_each_factor():
    assert kan([2, [1, [2, 3]], 1]).size == 2 * 6 * 9 + 3 * 9


# ------------------------------------------------------------------------------------------------------ selected nodes


@every_net
def test_selecting_everything_changes_nothing(net):
    theta = np.random.default_rng(0).normal(size=net.size)
    same, same_theta = net.select(theta, [np.arange(width) for width in net.widths])
    assert same.layout == net.layout
    assert_array_equal(same_theta, theta)
    assert_array_equal(same(theta, points_for(net)), net(theta, points_for(net)))


def test_a_selected_product_node_keeps_its_subnodes():
    net = kan([2, [1, [2, 3]], 2], affine=AFFINE, bias=True)
    theta = np.random.default_rng(0).normal(size=net.size)
    part, part_theta = net.select(theta, [[1, 0], [2, 0], [1]])
    assert part.widths == (2, 2, 1) and part.layers[0].nodes.arity == (3, 1)
    before, after = net.split(theta), part.split(part_theta)
    assert_array_equal(after["0.spline.W"], before["0.spline.W"][[3, 4, 5, 0]][:, [1, 0]])
    assert_array_equal(after["0.subnode_scale"], before["0.subnode_scale"][[3, 4, 5, 0]])
    assert_array_equal(after["0.node_bias"], before["0.node_bias"][[2, 0]])
    assert_array_equal(after["1.bias"], before["1.bias"][[1]])


@pytest.mark.parametrize(
    "nodes, message",
    [
        ([[0], [0]], "nodes must name some of each of the 3 levels, but it has 2 parts"),
        ([[0], [], [0]], r"nodes\[1\] must be a list of indices, at least one, but it is array"),
        ([[0], 1, [0]], r"nodes\[1\] must be a list of indices"),
        ([[0.5], [0], [0]], r"nodes\[0\] must be a list of indices"),
        ([[0], [3], [0]], r"nodes\[1\] must be different indices from 0 to 2, but it is \[3\]"),
        ([[0], [-1], [0]], r"nodes\[1\] must be different indices from 0 to 2, but it is \[-1\]"),
        ([[0], [1, 1], [0]], r"nodes\[1\] must be different indices from 0 to 2, but it is \[1, 1\]"),
    ],
)
def test_selections_that_make_no_sense(nodes, message):
    net = NETS["plain"]
    with pytest.raises(ValueError, match=message):
        net.select(net.init(), nodes)


# ------------------------------------------------------------------------------------------------------------- in words


def test_a_network_prints_as_a_table():
    layers = (
        *kan([1, [1, 1]], intervals=4, bias=True).layers,
        spline_layer(2, 1, BSpline(np.tile([0, 1, 2.5, 3], (2, 1)), 1, "clamp"), base=None, normalise=bases.tanh),
        spline_layer(1, 2, bases.Chebyshev(3), base="sin", normalise=MinMax([0], [1])),
    )
    title, *lines = repr(KAN(layers)).split("\n")
    assert title == "KAN [1, 2, 1, 2], 41 parameters"
    assert [re.split("  +", line) for line in lines] == [
        ["layer", "in -> out", "terms", "nodes", "parameters"],
        [
            "0",
            "1 -> 2",
            "base: silu; spline: B-splines of degree 3 on 4 uniform intervals, outside: zero",
            "arity (1, 2)",
            "27",
        ],
        [
            "1",
            "2 -> 1",
            "inputs by tanh; spline: B-splines of degree 1 on 1 non-uniform intervals, outside: clamp",
            "sums",
            "4",
        ],
        ["2", "1 -> 2", "inputs by MinMax; base: sin; spline: Chebyshev(degree=3)", "sums", "10"],
    ]
    assert (
        len({line.index(cell) for line, cell in zip(lines, ["terms", "base", "inputs by tanh", "inputs by MinMax"])})
        == 1
    )


# --------------------------------------------------------------------------------------------------- data that comes in


@pytest.mark.parametrize(
    "error, message, x",
    [
        (
            ValueError,
            r"x must have shape \(samples, 2\), but it has shape \(4, 3\); .*never dropped silently",
            np.zeros((4, 3)),
        ),
        (ValueError, r"it has shape \(4, 1\)", np.zeros((4, 1))),
        (ValueError, r"it has shape \(2,\); put samples in rows", [0.5, 0.5]),
        (ValueError, "x has no rows", np.zeros((0, 2))),
        (ValueError, r"x must be finite, but x\[1, 0\] is nan", [[0, 0], [np.nan, 0]]),
        (ValueError, r"x\[0, 1\] is inf", [[0, np.inf]]),
        (ValueError, "its rows differ in length", [[0, 0], [0]]),
        (TypeError, "dtype is complex128; take the real part", [[0, 1j]]),
        (TypeError, "dtype is <U3; convert text", [["0.5", "0.5"]]),
        (TypeError, "dtype is object; convert text and missing values", [[0.5, None]]),
    ],
)
def test_data_that_does_not_fit(error, message, x):
    """Ledger B29 is the first: extra columns are an error."""
    net = NETS["plain"]
    theta = net.init()
    for method in (net, net.derivatives, net.gradient, net.hessian, net.jacobian):
        with pytest.raises(error, match=message):
            method(theta, x)


def test_one_input_may_come_as_a_vector():
    net = kan([1, 3, 2])
    theta, x = net.init(), np.linspace(-1, 1, 6)
    assert_array_equal(net(theta, x), net(theta, x[:, None]))
    assert_array_equal(net.hessian(theta, list(x)), net.hessian(theta, x[:, None]))


@every_net
def test_shapes_and_precision(net):
    x = points_for(net)
    N, n, m = len(x), net.inputs, net.outputs
    theta = net.init(3)
    results = {}
    for dtype in (np.float64, np.float32):
        t = theta.astype(dtype)
        y, first, second = net.derivatives(t, x)
        got = [net(t, x), y, first, second, net.gradient(t, x), net.hessian(t, x), net.jacobian(t, x)]
        shapes = [(N, m), (N, m), (n, N, m), (n, N, m), (N, m, n), (N, m, n, n), (N, m, net.size)]
        assert [a.shape for a in got] == shapes
        assert {a.dtype for a in got} == {np.dtype(dtype)}
        value, gradient = mse(net, x, np.ones((N, m)))(t)
        assert type(value) is float and gradient.dtype == dtype and gradient.shape == (net.size,)
        results[dtype] = [*got, gradient]
    for single, double in zip(results[np.float32], results[np.float64]):
        assert_allclose(single, double, rtol=0, atol=2e-5 * max(1, np.abs(double).max(initial=0)))


@every_net
def test_integer_data_is_data(net):
    theta = net.init()
    x = np.random.default_rng(0).integers(-1, 2, (5, net.inputs))
    assert_array_equal(net(theta, x), net(theta, x.astype(float)))
    assert_array_equal(net(theta, x.astype(bool).tolist()), net(theta, (x != 0).astype(float)))


# --------------------------------------------------------------------------------------------------------- side effects


@every_net
def test_nothing_changes_its_arguments(net):
    """Read-only arrays serve as well."""
    theta, x = net.init(5), points_for(net)
    directions, y_bar = np.eye(net.inputs)[:1], np.ones((1, len(x), net.outputs))
    given = theta, x, directions, y_bar
    copies = [a.copy() for a in given]
    for a in given[:3]:
        a.flags.writeable = False
    net(theta, x), net.derivatives(theta, x, directions), net.hessian(theta, x), net.jacobian(theta, x)
    _, tape = net.forward(theta, x[None])
    first, _ = net.pullback(theta, tape, y_bar, inputs=True)
    second, _ = net.pullback(theta, tape, y_bar, inputs=True)
    assert_array_equal(first, second)
    mse(net, x, np.zeros((len(x), net.outputs)))(theta)
    for a, copy in zip(given, copies):
        assert_array_equal(a, copy)


def test_the_global_generator_is_left_alone():
    """Ledger B26."""
    state = np.random.get_state()  # noqa: NPY002
    net = kan([2, [1, 1], 1], scaled=True, bias=True, affine=AFFINE)
    for scheme in SCHEMES:
        theta = net.init(0, scheme)
    objective = minibatches(mse(net, points_for(net), np.zeros(7)), 2)
    for _ in range(5):
        objective(theta)
    net.hessian(theta, points_for(net)), net.jacobian(theta, points_for(net)), repr(net)
    for before, after in zip(state, np.random.get_state()):  # noqa: NPY002
        assert_array_equal(before, after)


@pytest.mark.parametrize(
    "build, kept",
    [
        (lambda a: Fixed(a[:, :, None]), "W"),
        (lambda a: Masked(Full((2, 2, 3)), a), "mask"),
        (lambda a: BSpline(a, 0), "knots"),
    ],
)
def test_structure_keeps_a_copy_of_its_constants(build, kept):
    given = np.array([[0.0, 1], [2, 3]])
    structure = build(given)
    given[0, 0] = -7
    constant = getattr(structure, kept)
    assert constant.min() == 0 and not constant.flags.writeable


def test_nodes_keep_a_copy_of_their_constants():
    given = np.array([2.0])
    nodes = Nodes((1,), constants={"node_scale": given})
    given[0] = -7
    assert nodes.constants["node_scale"] == 2 and not nodes.constants["node_scale"].flags.writeable


@every_net
def test_the_order_and_company_of_samples_do_not_matter(net):
    theta, x = net.init(), points_for(net, 300)
    y = net(theta, x)
    assert_allclose(net(theta, x[::-1])[::-1], y, rtol=0, atol=1e-14 * np.abs(y).max())
    assert_allclose(net(theta, x[123:124]), y[123:124], rtol=0, atol=1e-14 * np.abs(y).max())
    assert_array_equal(net(theta, x), y)


# ------------------------------------------------------------------------------------------------------ starting values


@pytest.mark.parametrize("scheme", SCHEMES)
@every_net
def test_the_same_seed_gives_the_same_bits(net, scheme):
    theta = net.init(7, scheme)
    assert theta.shape == (net.size,) and theta.dtype == np.float64 and np.isfinite(theta).all()
    assert_array_equal(theta, net.init(7, scheme))
    assert_array_equal(theta, net.init(np.random.default_rng(7), scheme))
    assert net.size == 0 or (theta != net.init(8, scheme)).any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_equal_layers_start_differently(scheme):
    """Ledger B12: one seed is no reason for equal draws."""
    net = kan([4, 4, 4, 4])
    views = net.split(net.init(0, scheme))
    for name in ("base.W", "spline.W"):
        a, b, c = (views[f"{l}.{name}"].ravel() for l in range(3))
        assert not np.isin(a, b).any() and not np.isin(b, c).any() and not np.isin(a, c).any()


def test_a_generator_moves_on():
    net, rng = kan([2, 1]), np.random.default_rng(0)
    assert (net.init(rng) != net.init(rng)).any()


def test_schemes_have_names():
    with pytest.raises(ValueError, match="scheme must be one of 'kanref', .*'pykan-0.2.8', .*, but it is 'he'"):
        NETS["plain"].init(0, "he")


P, Q, G, K = 80, 60, 5, 8
BASE = {  # mean and standard deviation of the base weights
    "kanref": (0, P**-0.5),
    "paper": (0, (2 / (P + Q)) ** 0.5),
    "pykan-0.0": (P**-0.5 - 0.1, 0.2),
    "pykan-0.2.8": (0, (3 * P) ** -0.5),
    "efficient-kan": (0, (3 * P) ** -0.5),
    "lecun": (0, P**-0.5),
    "glorot": (0, (2 / (P + Q)) ** 0.5),
}
SPLINE = {  # standard deviation of the coefficients
    "kanref": 0.1 / G,
    "paper": 0.1,
    "lecun": (P * K) ** -0.5,
    "glorot": (2 / ((P + Q) * K)) ** 0.5,
}
AMPLITUDE = {"pykan-0.0": 0.1, "pykan-0.2.8": 0.3, "efficient-kan": 0.1}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("scaled", [False, True])
def test_starting_values_have_the_moments_of_their_scheme(scheme, scaled):
    net = kan([P, Q], intervals=G, scaled=scaled, bias=True, affine=AFFINE)
    views = net.split(net.init(0, scheme))
    base, W = views["0.base.W"], views["0.spline.W"]
    mean, std = BASE[scheme]
    assert_allclose(base.std(), std, rtol=0.03)
    assert_allclose(base.mean(), mean, atol=4 * std / base.size**0.5)
    if scheme in ("paper", "pykan-0.2.8", "efficient-kan"):  # uniform, so bounded
        assert 0.99 * 3**0.5 * std < np.abs(base).max() <= 3**0.5 * std
    if scheme in SPLINE:
        assert_allclose(W.std(), SPLINE[scheme], rtol=0.02)
        assert_allclose(W.mean(), 0, atol=4 * W.std() / W.size**0.5)
    else:  # curves that are uniform noise of width amplitude/G at the grid points
        fold = P**-0.5 if scheme == "pykan-0.2.8" and not scaled else 1
        basis = net.layers[0].terms["spline"].basis
        noise = np.einsum("qpk,npk->nqp", W, basis.dense(np.linspace(*basis.domain.T, G + 1))) / fold
        assert_allclose(noise.std(), AMPLITUDE[scheme] / G / 12**0.5, rtol=0.02)
        assert 0.99 < np.abs(noise).max() / (AMPLITUDE[scheme] / G / 2) <= 1 + 1e-9
    if scaled and scheme == "efficient-kan":
        scale = views["0.spline.scale"]
        assert_allclose(scale.std(), (3 * P) ** -0.5, rtol=0.03)
        assert 0.99 * P**-0.5 < np.abs(scale).max() <= P**-0.5 and not np.isin(scale, base).any()
    elif scaled:
        assert_array_equal(views["0.spline.scale"], P**-0.5 if scheme == "pykan-0.2.8" else 1)
    assert not views["0.bias"].any()
    for name in AFFINE:
        assert_array_equal(views[f"0.{name}"], float(name.endswith("scale")))


def test_the_noise_has_the_least_coefficients():
    """G + 1 grid points do not fix G + degree coefficients: least norm is orthogonality to all that vanish there."""
    net = kan([2, 3], base=None)
    basis = net.layers[0].terms["spline"].basis
    W = net.split(net.init(0, "pykan-0.0"))["0.spline.W"]
    B = basis.dense(np.linspace(*basis.domain.T, G + 1))[:, 0]
    vanishing = np.linalg.svd(B)[2][G + 1 :]
    assert len(vanishing) == 2
    assert_allclose(W @ vanishing.T, 0, atol=1e-15)


@pytest.mark.parametrize("degree", [0, 1, 3])
def test_without_a_base_the_default_starts_from_random_lines(degree):
    """a x_p with a ~ N(0, 1/P), which splines from degree 1 on represent exactly, plus coefficients of 0.1/G."""
    net = kan([P, Q], intervals=100, degree=degree, domain=(-1, 2), base=None)
    basis, theta = net.layers[0].terms["spline"].basis, net.init(0)
    x = np.linspace(-1, 2, 101)
    functions = np.einsum("qpk,npk->nqp", net.split(theta)["0.spline.W"], basis.dense(np.repeat(x[:, None], P, 1)))
    lines = np.tensordot(np.linalg.pinv(x[:, None]), functions, 1)[0]
    assert_allclose(lines.std(), P**-0.5, rtol=0.03)
    width = 3 / 100 if degree == 0 else 0  # of a step
    assert np.abs(functions - x[:, None, None] * lines).max() < 6 * 0.1 / 100 + width * np.abs(lines).max()


def test_other_terms_start_in_their_own_way():
    net = KAN((*kan([P, Q], first="linear").layers, spline_layer(Q, P, bases.Chebyshev(4), base=None)))
    views = net.split(net.init(0))
    assert_allclose(views["0.linear.W"].std(), P**-0.5, rtol=0.03)
    s = np.tanh(np.linspace(-1, 1, 2001))
    mean_square = (np.polynomial.chebyshev.chebvander(s, 4) ** 2).sum(1).mean()
    assert_allclose(views["1.spline.W"].std(), (Q * mean_square) ** -0.5, rtol=0.03)
