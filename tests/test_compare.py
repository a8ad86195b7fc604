"""Compare: differences that are made on purpose are found where they were made and named; nothing else is named."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kanref import slim, tables
from kanref.bases import Chebyshev, MinMax
from kanref.cli import main
from kanref.compare import compare, opened
from kanref.compare.parting import far
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.golden.adapters import kanref as own
from kanref.golden.explain import wiped
from kanref.grids.rules import RULES, knots_from_samples
from kanref.interop import convert
from kanref.model import Model
from kanref.network import KAN, Layer, kan
from kanref.terms import Linear
from kanref.weights import Full, Masked

DATA = Path(__file__).parent / "data" / "interop"


def model(widths=(2, 5, 1), seed=0, **structure):
    """With scales and affine maps that are not 1."""
    net, rng = kan(list(widths), **structure), np.random.default_rng(7)
    theta = net.init(seed)
    for name, a in net.split(theta).items():
        if "scale" in name or "bias" in name:
            a[...] = rng.uniform(0.5, 2, a.shape)
    return Model(net, theta)


def changed(A, change, l=None):
    """A with layers changed: change(layer, arrays) gives another layer, or changes arrays in place."""
    layers, arrays = [], []
    for k, (layer, views) in enumerate(zip(A.net.layers, A.net.of_layers(A.theta))):
        arrays.append({name: a.copy() for name, a in views.items()})
        found = change(layer, arrays[-1]) if l in (None, k) else None
        layers.append(found if isinstance(found, Layer) else layer)
    net, theta = A.net.rebuilt(layers, arrays, A.theta.dtype)
    return replace(A, net=net, theta=theta)


def splines(change):
    """change(B-splines) in layers."""

    def of(layer, arrays):
        term = layer.terms["spline"]
        return replace(layer, terms={**layer.terms, "spline": replace(term, basis=change(term.basis))})

    return of


def array(name, change):
    """change(array) in place."""
    return lambda layer, arrays: change(arrays[name])


def at(index, value):
    def change(a):
        a[index] = value

    return change


def scale_in(layer, arrays):
    arrays["spline.W"] *= arrays["spline.scale"][:, :, None]


def scale_out(layer, arrays):
    arrays["spline.scale"][...] = 1


def turned(layer, arrays):
    for name, a in arrays.items():
        arrays[name] = a.swapaxes(0, 1).reshape(a.shape)


def masked(*names, mask):
    def change(layer, arrays):
        part = lambda name, term: replace(term, weights=Masked(term.weights, mask)) if name in names else term
        return replace(layer, terms={name: part(name, term) for name, term in layer.terms.items()})

    return change


def chebyshev(degree):
    net = KAN((Layer({"cheb": Linear(Chebyshev(degree), Full((1, 2, degree + 1)))}),))
    return Model(net, net.init(3))


EDGES = np.arange(2.0, 12).reshape(5, 2, 1)
ONE = np.ones((5, 2))
ONE[1, 0] = 0
MOVED = np.zeros((2, 12))
MOVED[0, 5] = 0.1
A = model(scaled=True)
CUT = changed(A, masked("spline", "base", mask=ONE), 0)
NODES = model([2, [2, 1], 2], bias=True, affine=("subnode_scale", "node_bias"))
FORMULAS = Symbolic((1, 2), ((0, 0, LIBRARY["sin"]), (0, 1, LIBRARY["exp"])))
SYMBOLIC = Model(KAN((Layer({"symbolic": FORMULAS}),)), np.array([2.0, 0.1, 1.0, 0.0, -1.0, 0.0, 0.5, 1.0]))
CHEBYSHEV = chebyshev(4)
MAPPED = model([2, 3, 1], inputs=MinMax([0.0, -3.0], [10.0, 5.0]))
LINEAR = model([2, 3, 1], first="linear", base=None)
SLIM = Model(*slim.slim(kan([2, 5, 1]), ranks=1))
X = np.random.default_rng(3).normal(size=(97, 2)) / 2


def permuted(A, order):
    net, theta = A.net.select(A.theta, [np.arange(2), np.array(order), np.arange(A.net.outputs)])
    return replace(A, net=net, theta=theta)


# ------------------------------------------------------------------------------------------------------ nothing to find


SAME = {
    "itself": (A, A),
    "products": (NODES, NODES),
    "formulas": (SYMBOLIC, SYMBOLIC),
    "another basis": (CHEBYSHEV, CHEBYSHEV),
    "an input map": (MAPPED, MAPPED),
    "steps": (model(degree=0), model(degree=0)),
    "Tucker": (SLIM, SLIM),
    "single precision": (replace(A, theta=A.theta.astype(np.float32)),) * 2,
    "scales multiplied in": (A, changed(changed(A, scale_in), scale_out)),
    "masked and gone": (CUT, changed(changed(A, array("spline.W", at((1, 0), 0)), 0), array("base.W", at((1, 0), 0)), 0)),
    "refined": (A, A.refine()),
    "no outside on these samples": (A, changed(A, splines(lambda b: replace(b, outside="error")), 0)),
}


@pytest.mark.parametrize("case", SAME)
def test_equal_models_part_nowhere(case):
    found = compare(*SAME[case])
    assert found.equal and found.parting is None and found.reasons == () and found.absolute <= found.allowed
    assert len(found.layers) == len(SAME[case][0].net.layers) and max(row.excess for row in found.layers) <= 1
    assert "They agree" in str(found) and "why" not in str(found)


@pytest.mark.parametrize("case", ["itself", "products", "formulas", "an input map", "Tucker", "masked and gone", "steps"])
def test_kanref_behind_the_protocol_parts_nowhere(case):
    found = compare(SAME[case][0], own)
    assert found.equal and found.parting is None and found.reasons == () and len(found.layers) >= 1


# ------------------------------------------------------------------------------------------------------- found and named

CASES = {
    "outside": (A, changed(A, splines(lambda b: replace(b, outside="linear")), 0), 0, "edge", [
        "outside the domain of the splines A does 'zero', B 'linear'",
        r"on that edge they part only outside the domain \[-1, 1\] of A's splines",
    ]),
    "one coefficient": (A, changed(A, array("spline.W", at((0, 2, 4), 0.25)), 1), 1, "edge", [
        r"coefficients \(output, input, function\): \[0, 2, 4\] is -0.0\d+ in A, 0.\d+ in B"
    ]),
    "in the second layer's base": (A, changed(A, array("base.W", at((0, 4), 3.0)), 1), 1, "edge", [
        r"base weights \(output, input\): \[0, 4\] is .* in A, 3 in B"
    ]),
    "scale applied twice": (A, changed(A, scale_in, 0), 0, "edge", ["B is A with scales applied twice"]),
    "scale left out": (A, changed(A, scale_out, 1), 1, "edge", ["B is A with scale left out"]),
    "scale in A alone": (changed(A, scale_out), A, 0, "edge", ["A is B with scale left out"]),
    "transposed": (A, changed(A, turned), 0, "edge", [
        r"B is A with spline weights and base weights and scales as \(input, output\)"
    ]),
    "an edge pruned": (A, CUT, 0, "edge", [r"B is A with edge \[1, 0\] switched off"]),
    "an edge not pruned": (CUT, A, 0, "edge", ["B is A with mask left out"]),
    "mask on splines": (CUT, changed(A, masked("spline", mask=ONE), 0), 0, "edge", ["B is A with the mask on splines alone"]),
    "base function": (A, replace(A, net=kan([2, 5, 1], scaled=True, base="tanh")), 0, "edge", [
        "the base function is silu in A, tanh in B"
    ]),
    "base weights": (A, changed(A, array("base.W", lambda a: np.multiply(a, 2, a)), 1), 1, "edge", [
        r"base weights \(output, input\): B's are twice A's"
    ]),
    "a factor on every edge": (A, changed(A, array("spline.W", lambda a: np.multiply(a, EDGES, a)), 0), 0, "edge", [
        "coefficients .*: on 10 edges B's are A's times a factor of the edge, from 2 to 11"
    ]),
    "degree": (model(degree=3), model(degree=2), 0, "edge", [
        "the splines differ: of degree 3 on 5 intervals in A, of degree 2 on 5 intervals in B"
    ]),
    "stretched knots": (A, changed(A, splines(lambda b: replace(b, knots=2 * b.knots)), 0), 0, "edge", [
        r"the knots differ, of inputs 0, 1: A's are uniform on \[-1, 1\], B's are uniform on \[-2, 2\]"
    ]),
    "outer knots": (A, changed(A, splines(lambda b: replace(b, knots=np.clip(b.knots, -1, 1))), 1), 1, "edge", [
        "outside the domain alone: A's outer knots go on by the mean step, B's repeat the edges"
    ]),
    "one knot": (A, changed(A, splines(lambda b: replace(b, knots=b.knots + MOVED)), 0), 0, "edge", [
        r"the knots differ, of input 0: A's are uniform on \[-1, 1\], B's follow no rule that is known here"
    ]),
    "rounded parameters": (A, replace(A, theta=A.theta.astype(np.float32).astype(float)), 0, "edge", [
        "B is A with parameters rounded to single precision"
    ]),
    "bias": (NODES, changed(NODES, array("bias", at(0, 3.0)), 1), 1, "sum", [r"bias \(output\): \[0\] is .* in A, 3 in B"]),
    "subnodes": (NODES, changed(NODES, array("subnode_scale", at(2, 3.0)), 0), 0, "node", [
        r"subnode_scale \(output\): \[2\] is .* in A, 3 in B"
    ]),
    "nodes": (NODES, changed(NODES, array("node_bias", at(1, 3.0)), 1), 1, "node", [
        r"node_bias \(output\): \[1\] is .* in A, 3 in B"
    ]),
    "arity": (model([2, 3, 2]), model([2, [2, 1], 2]), 0, "layer", [
        r"the layers are of other kinds: .*, sums in A, .*, arity \(1, 1, 2\) in B"
    ]),
    "no base": (A, changed(A, lambda layer, arrays: arrays.pop("base.W") is None or replace(layer, terms={
        "spline": layer.terms["spline"]}), 0), 0, "edge", ["B is A with base functions left out"]),
    "no splines": (model(scaled=True), model(first="linear", scaled=True), 0, "edge", [
        "the splines differ: of degree 3 on 5 intervals, outside: zero in A, none in B", "the base function is silu in A, ident"
    ]),
    "a map in A alone": (MAPPED, model([2, 3, 1]), 0, "input map", ["mapped otherwise: by MinMax in A, not at all in B"]),
    "constants of formulas": (SYMBOLIC, changed(SYMBOLIC, array("symbolic.affine", at((1, 0), -1.5))), 0, "edge", [
        r"on edge \[0, 1\] \(output, input\) exp has other constants: a -1 in A, -1.5 in B"
    ]),
    "formulas": (SYMBOLIC, changed(SYMBOLIC, lambda layer, arrays: replace(layer, terms={
        "symbolic": Symbolic((1, 2), ((0, 0, LIBRARY["cos"]), (0, 1, LIBRARY["exp"])))})), 0, "edge", [
        r"on edge \[0, 0\] \(output, input\) A has sin, B cos"
    ]),
    "no protocol": (CHEBYSHEV, changed(CHEBYSHEV, array("cheb.W", at((0, 1, 2), 3.0))), 0, "edge", [
        r"cheb.W .*\[0, 1, 2\] is .* in A, 3 in B"
    ]),
    "other kinds": (CHEBYSHEV, chebyshev(3), 0, "edge", [
        r"the layers are of other kinds: .*degree=4.* in A, .*degree=3.* in B"
    ]),
    "input map": (MAPPED, model([2, 3, 1], inputs=MinMax([0.0, -3.0], [10.0, 6.0])), 0, "input map", [
        r"the inputs are mapped otherwise: onto \[-1, 1\] from other ranges"
    ]),
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_changed_is_found_and_named(case):
    A, B, layer, kind, reasons = CASES[case]
    found = compare(A, B)
    assert not found.equal and (found.parting.layer, found.parting.kind) == (layer, kind)
    assert found.absolute > found.allowed and found.parting.difference > 0
    assert len(found.reasons) == len(reasons), found.reasons
    for sentence, expected in zip(found.reasons, reasons):
        assert re.search(expected, sentence)
    assert all(sentence in str(found) for sentence in found.reasons) and "They part" in str(found)
    assert json.loads(found.json())["parting"]["layer"] == layer


@pytest.mark.parametrize(("l", "index"), [(0, (2, 1, 7)), (0, (4, 0, 1)), (1, (0, 2, 4))])
def test_one_coefficient_is_found_with_its_edge_and_a_sample_where_it_shows(l, index):
    B = changed(A, array("spline.W", at(index, 0.25)), l)
    report = compare(A, B, X)
    found, (q, p, _) = report.parting, index
    assert (found.layer, found.kind, found.output, found.input, found.others) == (l, "edge", q, p, 0)
    x = A.net.activations(A.theta, X)[l]
    a, b = (model.net.edges(model.theta, l, x)[:, q, p] for model in (A, B))
    n, apart = np.abs(a - b).argmax(), np.flatnonzero(np.abs(a - b) > 1e-12)
    assert (found.sample, found.x, found.a, found.b) == (n, x[n, p], a[n], b[n])
    assert report.point == tuple(X[n]) and f"sample {n} is ({X[n, 0]:.9g}, {X[n, 1]:.9g})" in str(report)
    assert (found.first, found.count) == (apart[0], len(apart)) and (l == 1 or len(apart) < len(X) / 2)


@pytest.mark.parametrize("rule", RULES)
def test_knots_by_a_rule_are_named_if_the_samples_are_there(rule):
    B = changed(A, splines(lambda b: replace(b, knots=knots_from_samples(X, 5, 3, rule))), 0)
    (sentence,) = compare(A, B, X).reasons
    assert sentence.endswith(rf"A's are uniform on [-1, 1], B's follow from the samples by the rule '{rule}'")
    assert "rule '" not in "".join(compare(A, B).reasons)
    assert "rule '" not in "".join(compare(A, B, X[:60]).reasons)


def test_few_samples_name_no_factor():
    one = model([1, 1])
    for change, said in ((lambda y: y + 0.1, "what A makes, and 0.1 more"), (lambda y: y * 3, "3 times what A makes")):
        B = SimpleNamespace(forward=lambda network, x, change=change: change(own.forward(network, x)))
        assert compare(one, B, X[:1, :1]).reasons == () and said in compare(one, B, X[:9, :1]).reasons[0]


def test_few_edges_with_a_factor_are_listed_and_the_others_left_alone():
    factors = np.ones((5, 2, 1))
    factors[3, 1] = -1
    found = compare(A, changed(A, lambda layer, arrays: arrays["spline.W"].__imul__(factors), 0)).reasons
    assert found == ("coefficients (output, input, function): on edge [3, 1] B's are -1 times A's",)


def test_numbers_that_differ_are_written_with_digits_enough():
    slightly = array("spline.W", lambda a: np.multiply(a, 1 + 1e-10, a, where=np.arange(a.size).reshape(a.shape) == a.size - 4))
    found = compare(A, changed(A, slightly, 0)).reasons
    a, b = re.search(r"\[4, 1, 4\] is (\S+) in A, (\S+) in B", found[0]).groups()
    assert float(b) / float(a) - 1 == pytest.approx(1e-10, rel=1e-3)


def test_what_is_inherited_is_not_blamed():
    found = compare(A, CASES["an edge pruned"][1])
    assert found.layers[0].excess > 1 and found.layers[1].local == 0 and found.layers[1].accumulated == found.absolute > 0.1


def test_two_changes_are_both_named_and_the_later_layer_does_not_matter():
    both = changed(changed(A, splines(lambda b: replace(b, outside="clamp")), 0), array("spline.W", at((2, 1, 3), 1.0)), 0)
    found = compare(A, changed(both, scale_in, 1))
    assert [sentence[:7] for sentence in found.reasons] == ["outside", "coeffic"]
    assert found.parting.layer == 0 and found.layers[1].excess > 1


def test_a_difference_within_the_tolerance_is_none():
    B = changed(A, array("spline.W", at((0, 2, 4), A.net.split(A.theta)["1.spline.W"][0, 2, 4] + 1e-9)), 1)
    assert not compare(A, B).equal
    found = compare(A, B, tolerance=1e-6)
    assert found.equal and found.parting is None and found.tolerance == "1e-06 of the largest value, as asked"


def test_without_bounds_a_multiple_of_epsilon_is_fair(monkeypatch):
    assert "1000 units of float64's epsilon times the largest value" in compare(SYMBOLIC, SYMBOLIC).tolerance
    monkeypatch.setattr("kanref.compare.tolerance.EDGES", 14)
    found = compare(A, changed(A, array("spline.W", at((0, 2, 4), 0.25)), 1))
    assert "1000 units of float64's epsilon times the largest value" in found.tolerance and found.parting.layer == 1
    assert found.allowed == 1000 * np.finfo(float).eps * found.absolute / found.relative
    found = compare(A, replace(A, theta=A.theta.astype(np.float32)))
    assert found.equal and "within what float32 may do: 1000 units of its epsilon" in found.reasons[0]


def test_single_precision_is_fair_and_said():
    found = compare(A, replace(A, theta=A.theta.astype(np.float32)))
    assert found.equal and found.parting is None and 0 < found.absolute < found.allowed
    (sentence,) = found.reasons
    assert sentence.startswith("one side is in float32, the other in float64: the difference is within what float32 may do: cert")
    assert "certified rounding errors of both sides in float32" in found.tolerance
    B = changed(A, array("spline.W", at((0, 2, 4), 0.25)), 1)
    assert "more than rounding" in compare(A, B).rounding
    assert "within what float32 may do" in compare(A, CASES["rounded parameters"][1]).rounding
    found = compare(A, replace(B, theta=B.theta.astype(np.float32)))
    assert not found.equal and found.parting.layer == 1 and "more than rounding" in found.rounding
    assert "single" not in "".join(found.reasons) and "float32" not in "".join(found.reasons)


def test_permuted_nodes_are_one_function():
    found = compare(A, permuted(A, [3, 1, 0, 2, 4]))
    assert found.equal and found.parting is None
    (sentence,) = found.reasons
    assert sentence == "hidden nodes of level 1 are permuted: B's are A's [3, 1, 0, 2, 4], in this order, and counted as in B"
    found = compare(A, permuted(changed(A, array("spline.W", at((0, 2, 4), 1.0)), 1), [3, 1, 0, 2, 4]))
    assert not found.equal and (found.parting.layer, found.parting.input) == (1, 3) and "permuted" in found.reasons[0]
    assert "[0, 3, 4] is" in found.reasons[1] and len(found.reasons) == 2


def test_nodes_and_inputs_that_are_gone_are_named():
    found = compare(A, permuted(A, [0, 1, 2, 4]))
    assert not found.equal and found.parting.kind == "output"
    assert found.reasons == ("B lacks hidden nodes of level 1 [3]; its own are A's [0, 1, 2, 4], and counted as in B",)
    net, theta = A.net.select(A.theta, [np.array([1]), np.arange(5), np.arange(1)])
    found = compare(A, Model(net, theta, width=2, columns=(1,)))
    assert not found.equal and found.reasons == ("B lacks inputs [0]; its own are A's [1], and counted as in B",)


def test_other_shapes_are_compared_by_outputs():
    found = compare(A, model([2, 4, 1]))
    assert found.layers == () and found.parting.kind == "output" and found.parting.layer is None
    assert found.reasons == ("A is [2, 5, 1], B [2, 4, 1], and B's nodes are not among A's: only outputs are compared",)
    assert compare(A, model([2, 1])).reasons == ("A is [2, 5, 1], B [2, 1]: only outputs are compared",)


def test_scales_that_the_next_layer_undoes():
    c = np.array([2.0, 0.5, 4.0])

    def change(layer, arrays):
        if "linear.W" in arrays:
            arrays["linear.W"] *= c[:, None, None]
            return layer
        return splines(lambda b: replace(b, knots=b.knots * c[:, None]))(layer, arrays)

    found = compare(LINEAR, changed(LINEAR, change))
    assert found.equal and found.parting.layer == 0 and "inside, they part first" in str(found)
    (sentence,) = found.reasons
    assert "outputs agree, but inner values do not" in sentence and "level 1 are A's times [2.  0.5 4. ], which" in sentence


def test_a_model_that_refuses_samples_is_told():
    B = changed(A, splines(lambda b: replace(b, outside="error")), 1)
    found = compare(A, B)
    assert not found.equal and found.absolute is None and "outside the domain" in found.reasons[0]
    assert len(found.reasons) == 1 and found.layers[1].local is None and found.layers[0].excess == 0
    with pytest.raises(ValueError, match="A gives no values on these samples: it raised ValueError: x"):
        compare(B, A)


def test_numbers_that_are_none():
    a, b = np.array([np.nan, np.inf, np.nan, 1.0]), np.array([np.nan, np.inf, 1.0, np.inf])
    assert far(a, b).tolist() == [0.0, 0.0, np.inf, np.inf]
    log = Symbolic((1, 2), ((0, 0, LIBRARY["log"]), (0, 1, LIBRARY["exp"])))
    B = changed(SYMBOLIC, lambda layer, arrays: replace(layer, terms={"symbolic": log}))
    assert compare(B, B).equal
    found = compare(SYMBOLIC, B)
    assert not found.equal and json.loads(found.json())["absolute"] == "inf" and "A has sin, B log" in found.reasons[0]


# ------------------------------------------------------------------------------------------------------ implementations


def understood(change):
    """An adapter that takes every layer otherwise."""
    return SimpleNamespace(forward=lambda network, x: own.forward([change(dict(layer)) for layer in network], x))


def without(name):
    return lambda layer: {key: a for key, a in layer.items() if key != name}


def transposed(*names):
    return lambda layer: layer | {n: np.ascontiguousarray(layer[n].swapaxes(0, 1)).reshape(layer[n].shape) for n in names}


def half_open(x, knots, degree):
    B = own.bspline(x, knots, degree, 0, "zero")
    return np.where((x == knots[-1])[:, None], 0, B)


def recursion(network, x, basis=wiped):
    """Sums of splines and SiLU, with B-splines as pykan computes them."""
    for layer in network:
        W = layer["spline"] * layer.get("scale", np.ones(layer["base"].shape))[:, :, None]
        B = [basis(x[:, p], t, layer["degree"]) for p, t in enumerate(layer["knots"])]
        silu = own.base_function("silu", x.ravel(), 0).reshape(x.shape)
        x = sum(b @ W[:, p].T for p, b in enumerate(B)) + silu @ layer["base"].T
    return x


def single(network, x):
    cast = lambda layer: {n: a.astype(np.float32) if isinstance(a, np.ndarray) else a for n, a in layer.items()}
    return own.forward([cast(layer) for layer in network], x.astype(np.float32))


def on_splines(layer):
    return without("mask")(layer) | ({"spline": layer["spline"] * layer["mask"][:, :, None]} if "mask" in layer else {})


def scales_in_layers_alone(network, x):
    return own.forward(network if len(network) == 1 else [without("scale")(layer) for layer in network], x)


def shapes(layer):
    raise RuntimeError("shapes (5, 2) and (2, 5) do not fit\nat all")


def refusing(network, x):
    if any("mask" in layer or "scale" in layer for layer in network):
        raise NotImplementedError("there is no mask, and no scale")
    return own.forward(network, x)


REPEATED = changed(A, splines(lambda b: replace(b, knots=np.clip(b.knots, -1, 1))))
MAPS = model([2, 3, 1], inputs="tanh")
WRONG = {
    "spline transposed": (A, understood(transposed("spline")), "edge", [r"B is A with spline weights as \(input, output\)"]),
    "all transposed": (A, understood(transposed("spline", "base", "scale")), "edge", ["and scales as"]),
    "mask ignored": (CUT, understood(without("mask")), "edge", ["B is A with mask left out"]),
    "mask on splines": (CUT, understood(on_splines), "edge", ["B is A with the mask on splines alone"]),
    "outside": (A, understood(lambda layer: layer | {"outside": "clamp"}), "edge", [
        "B is A with outside='clamp'", "they part only outside the domain"]),
    "scale twice": (A, understood(lambda layer: layer | {"scale": layer["scale"] ** 2}), "edge", ["scales applied twice"]),
    "bias ignored": (NODES, understood(without("bias")), "sum", ["B is A with bias left out"]),
    "affine ignored": (model([2, 3, 1], affine=("node_scale",)), understood(without("node_scale")), "node", [
        "B is A with affine maps of the nodes left out"]),
    "map ignored": (MAPS, understood(without("normalise")), "layer", ["B is A with normalisation left out"]),
    "recursion": (REPEATED, SimpleNamespace(forward=recursion), "edge", ["on that edge, B fits a recursion in which 0/0"]),
    "half-open": (REPEATED, SimpleNamespace(forward=lambda network, x: recursion(network, x, half_open)), "edge", [
        "on that edge, B fits half-open spans, with nothing at the right", "they part only at the right edge of the domain"]),
    "single precision": (A, SimpleNamespace(forward=single), "edge", [
        "numbers are, or pass through, single precision: the difference is within what float32 may do: certified bound"]),
    "twice": (A, SimpleNamespace(forward=lambda network, x: 2 * own.forward(network, x)), "edge", [
        "what B makes there is twice what A makes"]),
    "networks": (A, SimpleNamespace(forward=scales_in_layers_alone), "output", [
        "layer by layer they agree, but as a whole B is A with scale left out"]),
    "shifted": (A, SimpleNamespace(forward=lambda network, x: own.forward(network, x) + 0.1 * (len(network) > 1)), "output", [
        "and 0.1 more"]),
    "strange": (A, SimpleNamespace(forward=lambda network, x: own.forward(network, x) + np.sin(x[:, :1]) * (len(network) > 1)),
        "output", ["layer by layer they agree, but not as a whole"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_implementations_are_found_and_named(case):
    A, B, kind, reasons = WRONG[case]
    found = compare(A, B)
    assert not found.equal and found.parting.kind == kind
    assert len(found.reasons) == len(reasons), found.reasons
    for sentence, expected in zip(found.reasons, reasons):
        assert re.search(expected, sentence)


@pytest.mark.parametrize("A", [model([2, 2, 1]), model([9, 9, 1])], ids=["edge by edge", "input by input"])
def test_exchanged_weights_are_named(A):
    assert compare(A, understood(transposed("spline", "base"))).reasons == (
        "B is A with spline weights and base weights as (input, output)",
    )


def test_edges_that_are_as_they_were_are_not_blamed():
    """Exchanged weights (input, output): that of edge 0, 0 stays where it is. Edges in other places are not switched off."""
    found = compare(model([2, 2, 1]), understood(transposed("spline", "base"))).parting
    assert {found.output, found.input} == {0, 1} and found.others == 1
    reverse = SimpleNamespace(forward=lambda network, x: own.forward(network, x)[:, ::-1])
    assert "switched off" not in "".join(compare(model([2, 3, 2]), reverse).reasons)


def test_what_is_not_offered_is_asked_in_another_form():
    assert compare(CUT, SimpleNamespace(forward=refusing)).equal
    assert compare(A, SimpleNamespace(forward=recursion)).equal


def test_an_implementation_that_answers_by_chance_is_told():
    rng = np.random.default_rng(0)
    found = compare(A, SimpleNamespace(forward=lambda network, x: own.forward(network, x) + rng.normal() * (rng.random() < 0.5)))
    assert not found.equal and found.reasons[0] == "B answers the same question otherwise when it is asked again"


def vandal(network, x):
    y = own.forward(network, x)
    x[...] = 0
    network[0]["spline"][...] = 0
    return y


def test_an_implementation_may_write_into_its_arguments():
    before = A.theta.copy()
    found = compare(A, SimpleNamespace(forward=vandal))
    assert found.equal and found.parting is None and found.reasons == ()
    np.testing.assert_array_equal(A.theta, before)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (lambda network, x: shapes(network), "B raised RuntimeError: shapes (5, 2) and (2, 5) do not fit"),
        (lambda network, x: own.forward(network, x).T, "B gave shape (1, 270), expected (270, 1)"),
        (lambda network, x: "no numbers", "B raised ValueError: could not convert string to float"),
        (lambda network, x: [][0], "B raised IndexError"),
        (lambda network, x: exit(3), "B raised SystemExit: 3"),
        (lambda network, x: own.forward(network, x) + 0j, "B raised TypeError: the answer must be real, but it is complex"),
        (lambda network, x: pytest.skip("not today"), "B raised Skipped: not today"),
        (None, "B does not offer this: nothing"),
    ],
)
def test_a_crash_is_a_report(forward, said):
    def nothing(network, x):
        raise NotImplementedError("nothing")

    found = compare(A, SimpleNamespace(forward=forward or nothing))
    assert not found.equal and found.absolute is None and found.parting is None and said in found.reasons[0]
    assert "B gives no outputs" in str(found) and json.loads(found.json())["absolute"] is None


def test_an_object_that_raises_whatever_it_is_asked_for_is_no_implementation():
    class Opaque:
        def __getattr__(self, name):
            raise RuntimeError(name)

    with pytest.raises(ValueError, match="it offers no forward"):
        compare(A, Opaque())


def test_the_layer_that_crashes_is_named():
    def forward(network, x):
        return shapes(network) if any(len(layer["spline"]) == 1 for layer in network) else own.forward(network, x)

    found = compare(A, SimpleNamespace(forward=forward))
    assert found.layers[0].excess == 0 and found.layers[1].local is None and "RuntimeError" in found.layers[1].refused
    nan = compare(A, SimpleNamespace(forward=lambda network, x: own.forward(network, x) * np.nan))
    assert not nan.equal and nan.parting.difference == np.inf and nan.absolute == np.inf


# ------------------------------------------------------------------------------------------------------- files and data


@pytest.mark.parametrize("name", ["sums", "products", "affine", "pruned", "symbolic", "single", "cubes"])
def test_checkpoints_of_pykan_are_what_they_were_converted_to(tmp_path, name):
    """Read, written as kanref's and as pykan's again."""
    convert.convert(DATA / name, tmp_path / "a.safetensors")
    convert.convert(tmp_path / "a.safetensors", tmp_path / "b")
    first, second = opened(str(DATA / name)), opened(str(tmp_path / "b"))
    for other in (second, own):
        found = compare(first, other)
        assert found.equal and found.parting is None and found.reasons == ()


def write(model, path, schema=None):
    (replace(model, extra={"schema": schema.to_json()}) if schema else model).save(path)


@pytest.fixture
def files(tmp_path):
    """Models of one table with other schemas, and the table."""
    rng = np.random.default_rng(0)
    colour = np.array(["red", "blue"])[rng.integers(0, 2, 40)]
    size = rng.uniform(2, 9, 40).round(3)
    tables.write_csv(tmp_path / "t.csv", ["colour", "size", "y"], [colour, size, (size**2).round(3)])
    table = tables.read_csv(tmp_path / "t.csv")
    schema = tables.fit_schema(table, "y", train_rows=np.arange(40))
    other = tables.fit_schema(table, "y", train_rows=np.arange(20, 40))
    A = model([len(schema.feature_names), 2, 1])
    write(A, tmp_path / "a.safetensors", schema)
    write(A, tmp_path / "same.safetensors", schema)
    write(A, tmp_path / "read.safetensors", other)
    write(A, tmp_path / "bare.safetensors")
    write(changed(A, array("spline.W", at((0, 1, 2), 9.0)), 0), tmp_path / "b.safetensors", schema)
    tables.write_csv(tmp_path / "lacks.csv", ["colour", "y"], [colour, size])
    tables.write_csv(tmp_path / "numbers.csv", ["u", "v", "w"], list(rng.normal(size=(3, 9))))
    write(model([2, 2, 1]), tmp_path / "two.safetensors")
    (tmp_path / "broken.py").write_text("raise RuntimeError('two\\nlines')\n")
    (tmp_path / "mine.py").write_text("from kanref.golden.adapters.kanref import forward\nclass other:\n    pass\n")
    return tmp_path


def run(capsys, monkeypatch, folder, *arguments):
    monkeypatch.chdir(folder)
    code = main(["compare", *arguments])
    return code, capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a.safetensors", "same.safetensors"], 0, "They agree"),
        (["a.safetensors", "same.safetensors", "--data", "t.csv"], 0, "on 40 rows of the table, counted from 0"),
        (["a.safetensors", "bare.safetensors", "--data", "t.csv"], 0, "knows no columns gets what the other reads"),
        (["bare.safetensors", "bare.safetensors", "--data", "numbers.csv"], 0, "on 9 rows"),
        (["a.safetensors", "b.safetensors", "--data", "t.csv"], 1, "they part first in layer 0, edge from input 1 to output 0"),
        (["a.safetensors", "b.safetensors", "--tolerance", "1e3"], 0, "1000 of the largest value, as asked"),
        (["a.safetensors", "read.safetensors", "--data", "t.csv"], 1, "the table is read otherwise, column 'size'"),
        (["a.safetensors", "read.safetensors", "--data", "t.csv"], 1, "outputs are in other units"),
        (["a.safetensors", "kanref.golden.adapters.kanref", "--seed", "3"], 0, "(seed 3)"),
        (["a.safetensors", "mine", "--data", "t.csv"], 0, "an implementation, asked for A's network"),
        (["a.safetensors", "mine:other"], 2, "but it offers no forward"),
        (["none.safetensors", "a.safetensors"], 2, "there is no file none.safetensors"),
        (["a.safetensors", "none.npz"], 2, "there is no file none.npz"),
        (["a.safetensors", "nothing.there"], 2, "nothing.there is no file, and no implementation either"),
        (["a.safetensors", "broken"], 2, "'broken' gave: RuntimeError: two lines (line 1"),
        (["mine", "a.safetensors"], 2, "A must be a model's file, which an implementation is asked for, but mine is none"),
        (["a.safetensors", "two.safetensors"], 2, "A has 3 inputs and 1 outputs, B 2 inputs and 1 outputs"),
        (["a.safetensors", "b.safetensors", "--data", "none.csv"], 2, "none.csv"),
        (["a.safetensors", "b.safetensors", "--data", "lacks.csv"], 2, "the table lacks 'size'"),
        (["bare.safetensors", "bare.safetensors", "--data", "t.csv"], 2, "is no finite number; the model was not made by"),
        (["two.safetensors", "two.safetensors", "--data", "numbers.csv"], 2, "exactly its 2 inputs as columns, in order; it"),
        (["a.safetensors", "b.safetensors", "--tolerance", "-1"], 2, "tolerance must be a share of the largest value"),
        (["a.safetensors", "broken.py"], 2, "is of no format known here"),
    ],
)
def test_the_command_says_what_it_found(capsys, monkeypatch, files, arguments, code, said):
    found, shown = run(capsys, monkeypatch, files, *arguments)
    assert found == code and said in (shown.err if code == 2 else shown.out)
    assert shown.err.count("\n") == (code == 2) and bool(shown.out) == (code < 2)


def test_json_of_the_command(capsys, monkeypatch, files):
    code, shown = run(capsys, monkeypatch, files, "a.safetensors", "b.safetensors", "--json")
    content = json.loads(shown.out)
    assert code == 1 and content["equal"] is False and content["parting"]["kind"] == "edge"
    assert content["names"][0].startswith("a.safetensors: [3, 2, 1]") and "[0, 1, 2] is" in content["reasons"][0]
    assert [row["layer"] for row in content["layers"]] == [0, 1]


def test_samples_are_the_same_for_the_same_seed_and_lie_on_knots():
    from kanref.compare.samples import samples

    first, again, other = (samples((A,), None, seed).X[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], other[0])
    knots = A.net.layers[0].terms["spline"].basis.knots
    assert all(np.isin(knots[p], first[:, p]).all() for p in range(2)) and (np.abs(first) > 1).any()
    mapped = samples((MAPPED,), None, 0).X[0]
    assert np.isin([0, 2, 4, 6, 8, 10], mapped[:, 0]).all() and np.isin([-3, 5], mapped[:, 1]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((A, 3), "B must be a Model or an adapter that offers forward"),
        ((A, model([2, 3, 2])), "A has 2 inputs and 1 outputs, B 2 inputs and 2 outputs"),
        ((A, A, np.zeros((3, 5))), "X"),
        ((A, A, None, np.nan), "tolerance must be a share"),
        ((CHEBYSHEV, own), "an implementation cannot be asked for layer 0, .*Chebyshev.*: the protocol has no words for it"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare(*arguments)
    with pytest.raises(TypeError, match="A must be a Model"):
        compare(own, A)
