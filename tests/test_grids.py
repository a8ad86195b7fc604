"""Grids: rules of the libraries digit by digit, exact insertion on the whole line, least squares that stay honest."""

import json
from dataclasses import replace
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import grids, spec
from kanref.bases import BSpline, Chebyshev, MinMax
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.nodes import Nodes
from kanref.terms import Linear
from kanref.weights import Fixed, Full, Masked, Scaled

CASES = {c["name"]: c for c in json.loads((Path(__file__).parent / "data" / "peers.json").read_text())["cases"]}
LIBRARY = {"pykan": "pykan", "efficient": "efficient-kan", "jaxkan": "jaxkan"}  # rule: library
SQUARES = (np.arange(97) / 96)[:, None] ** 2


def case(name, part):
    return {key: np.reshape(a["data"], a["shape"]) for key, a in CASES[name][part].items()}


def generator(seed=0):
    return np.random.default_rng(seed)


# ------------------------------------------------------------------------------------------------------- the rules

PRINTED = {  # 12 knots of x_i = (i/96)^2, 5 intervals, degree 3
    "pykan": "-0.6 -0.4 -0.2 0 0.042388 0.161550 0.369717 0.646471 1 1.2 1.4 1.6",
    "efficient": "-0.6122 -0.4082 -0.2042 -0.0002 0.042268 0.161510 0.357528 0.630321 1.0002 1.2042 1.4082 1.6122",
    "jaxkan": "-0.6011 -0.4009 -0.2007 -0.0005 0.046912 0.168750 0.376866 0.651471 1.0005 1.2007 1.4009 1.6011",
}


@pytest.mark.parametrize("rule", PRINTED)
def test_rules_of_the_libraries_to_the_printed_digits(rule):
    knots = grids.knots_from_samples(SQUARES, 5, 3, rule)
    assert_allclose(knots[0], [float(t) for t in PRINTED[rule].split()], rtol=0, atol=5.01e-7)


@pytest.mark.parametrize("rule", LIBRARY)
def test_rules_of_the_libraries_to_rounding(rule):
    name = f"{LIBRARY[rule]}-grid-rule"
    x = case(name, "arrays")["x"][:, None]
    shuffled = generator().permutation(x)
    for samples in (x, shuffled, np.hstack([x, shuffled])):
        knots = grids.knots_from_samples(samples, 5, 3, rule)
        for row in knots:
            assert_allclose(row, case(name, "expected")["knots"], rtol=0, atol=1e-14)


def test_the_rule_of_the_paper_is_uniform_with_a_margin():
    knots = grids.knots_from_samples(SQUARES, 5, 3, "pykan-0.0")
    assert_allclose(knots[0], -0.01 + 1.02 / 5 * np.arange(-3, 9), rtol=0, atol=1e-14)


@pytest.mark.parametrize("rule", ["kanref", *PRINTED, "pykan-0.0"])
def test_mix_is_the_weight_of_the_uniform_grid(rule):
    x = generator().normal(size=(60, 2)) ** 3
    inner = {mix: grids.knots_from_samples(x, 7, 2, rule, mix)[:, 2:-2] for mix in (0, 0.3, 1)}
    assert_allclose(inner[0.3], 0.3 * inner[1] + 0.7 * inner[0], rtol=1e-13, atol=1e-14)
    assert_allclose(np.diff(inner[1]), np.ptp(inner[1], axis=1)[:, None] / 7 * np.ones((1, 7)), rtol=1e-12)
    assert np.ptp(np.diff(inner[0]), axis=1).min() > 0.1


@pytest.mark.parametrize("mix", [None, 0.5, 0.0])
@pytest.mark.parametrize("G, degree", [(1, 3), (5, 3), (8, 0), (40, 5)])
def test_default_rule_keeps_every_sample_inside_in_any_unit(mix, G, degree):
    rng = generator(1)
    x = np.stack([rng.normal(size=50) ** 3, 1e5 + rng.uniform(size=50), 1e-9 * rng.normal(size=50)], 1)
    knots = grids.knots_from_samples(x, G, degree, mix=mix)
    low, high = BSpline(knots, degree).domain.T
    span = np.ptp(x, axis=0)
    assert_allclose(x.min(0) - low, 0.01 * span, rtol=1e-6)
    assert_allclose(high - x.max(0), 0.01 * span, rtol=1e-6)
    assert_allclose(grids.knots_from_samples(-3 * x, G, degree, mix=mix), -3 * knots[:, ::-1], rtol=1e-12)
    assert_allclose(grids.knots_from_samples(x[:, :1] + 2, G, degree, mix=mix), knots[:1] + 2, rtol=1e-12, atol=1e-13)
    assert mix is not None or (BSpline(knots, degree).steps > 0).all()


def test_default_rule_puts_equally_many_samples_between_adaptive_knots():
    x = generator(2).normal(size=(4000, 1))
    inner = grids.knots_from_samples(x, 8, 3, mix=0.0)[0, 3:-3]
    count = np.histogram(x, inner)[0]
    assert_allclose(count, 500, atol=10)


@pytest.mark.parametrize("mix", [None, 0.02, 0.0])
def test_default_rule_makes_no_empty_span_of_tied_discrete_or_constant_samples(mix):
    ties = np.r_[np.zeros(95), 1, 2, 3, 4, 5]
    two = np.r_[np.zeros(50), np.ones(50)]
    constant = [np.full(100, c) for c in (0, 3, -1e5, 1e12)]
    noise = 0.1 + 1e-16 * np.arange(100) / 10
    x = np.stack([ties, two, noise, *constant], 1)
    knots = grids.knots_from_samples(x, 10, 3, mix=mix)
    basis = BSpline(knots, 3)
    low, high = basis.domain.T
    assert ((low < x) & (x < high)).all()
    assert (np.diff(knots) >= (high - low)[:, None] / 10 / 11.001).all()
    assert_allclose(high[2:6] - low[2:6], 1, rtol=1e-9)
    assert_allclose((high[2:] + low[2:]) / 2, x[0, 2:], atol=1e-12, rtol=1e-12)
    assert_allclose(basis.dense(x).sum(-1), 1, rtol=1e-12)


def test_tied_samples_are_no_trouble_for_the_functions_either():
    """Ledger B2: the libraries' rules give repeated knots, which must stay finite."""
    x = np.round(generator(3).uniform(-1, 1, (200, 1)), 1)
    knots = grids.knots_from_samples(x, 40, 3, "pykan", 0.0)
    assert (np.diff(knots) == 0).any()
    B = BSpline(knots, 3).dense(x)
    assert np.isfinite(B).all()
    assert_allclose(B[x[:, 0] < x.max()].sum(-1), 1, rtol=1e-12)


def test_float32_samples_are_constant_at_their_own_precision():
    x = (1000 + 1e-3 * np.linspace(0, 1, 20))[:, None]
    low, high = BSpline(grids.knots_from_samples(x.astype(np.float32), 5, 3), 3).domain[0]
    assert_allclose(high - low, 10 * np.sqrt(np.finfo(np.float32).eps) * 1000, rtol=1e-3)
    low, high = BSpline(grids.knots_from_samples(x, 5, 3), 3).domain[0]
    assert_allclose(high - low, 1.02e-3, rtol=1e-6)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"rule": "liu"}, ValueError, "rule must be one of 'kanref', 'pykan'"),
        ({"mix": 1.5}, ValueError, "mix must be from 0"),
        ({"mix": np.nan}, ValueError, "mix must be from 0"),
        ({"x": np.zeros(5)}, ValueError, r"x must have shape \(samples, inputs\)"),
        ({"x": np.zeros((0, 2))}, ValueError, "at least one sample"),
        ({"x": np.full((5, 1), np.nan)}, ValueError, "x must be finite"),
        ({"intervals": 0}, ValueError, "intervals must be at least 1|intervals must be from 1"),
        ({"intervals": 2.0}, TypeError, "intervals must be an integer"),
        ({"degree": -1}, ValueError, "degree must be from 0"),
    ],
)
def test_rules_refuse(change, error, message):
    with pytest.raises(error, match=message):
        grids.knots_from_samples(**{"x": np.zeros((5, 1)), "intervals": 5, "degree": 3, **change})


# ---------------------------------------------------------------------------------------------------- insertion


def boehm(t, degree, tau):
    """One knot, as Boehm (1980) has it."""
    K = len(t) - degree - 1
    m = max(i for i in range(len(t)) if t[i] <= tau)
    R = np.zeros((K + 1, K), dtype=object)
    for i in range(K + 1):
        if i <= m - degree:
            a = 1
        elif i > m:
            a = 0
        else:
            a = (tau - t[i]) / (t[i + degree] - t[i])
        if i < K:
            R[i, i] = a
        if i > 0:
            R[i, i - 1] = 1 - a
    return [*t[: m + 1], tau, *t[m + 1 :]], R


KNOTS = {
    "uniform": lambda d: [Fraction(i, 4) for i in range(-d, 6 + d)],
    "random": lambda d: sorted(Fraction(int(i), 64) for i in generator(5).choice(400, 7 + 2 * d, replace=False)),
    "clamped": lambda d: [Fraction(0)] * (d + 1) + [Fraction(1, 3), Fraction(1, 2)] + [Fraction(1)] * (d + 1),
    "repeated": lambda d: [Fraction(i // 2 if d else i) for i in range(-d, 8 + d)],
}


@pytest.mark.parametrize("kind", KNOTS)
@pytest.mark.parametrize("degree", range(6))
def test_insertion_at_once_is_boehm_one_by_one_in_exact_fractions(kind, degree):
    t = KNOTS[kind](degree)
    rng = generator(degree)
    new = [t[0] + (t[-1] - t[0]) * Fraction(int(n), 97) for n in rng.choice(np.arange(1, 97), 6, replace=False)]
    new += [t[degree + 1]] if t.count(t[degree + 1]) <= degree else []
    fine, product = t, np.eye(len(t) - degree - 1, dtype=object)
    for tau in new:
        fine, R = boehm(fine, degree, tau)
        product = R @ product
    knots, R = grids.insertion_matrix(np.array(t, float), degree, np.array(new, float))
    assert_array_equal(knots, np.array(fine, float))
    assert_allclose(R, product.astype(float), rtol=0, atol=1e-15 * (degree + 1))
    assert (R >= 0).all()


@pytest.mark.parametrize("kind", KNOTS)
@pytest.mark.parametrize("degree", range(1, 6))
def test_old_functions_are_sums_of_the_new_ones_on_the_whole_line(kind, degree):
    t = np.array(KNOTS[kind](degree), float)
    new = np.r_[(t[:-1] + t[1:])[np.diff(t) > 0] / 2, t[:1][: degree - (t == t[0]).sum() + 1]]
    fine, R = grids.insertion_matrix(t, degree, new)
    for x in generator(1).uniform(t[0] - 0.5, t[-1] + 0.5, 40):
        for order in range(min(degree, 2) + 1):
            old, many = (np.array(spec.bspline(x, knots, degree, order)) for knots in (t, fine))
            assert_allclose(many @ R, old, rtol=0, atol=1e-13 * max(1, np.abs(many).max()))


@pytest.mark.parametrize("degree", range(8))
def test_midpoints_of_uniform_knots_give_the_two_scale_weights(degree):
    w = grids.two_scale(degree)
    assert_allclose(w, [comb(degree + 1, s) / 2**degree for s in range(degree + 2)], rtol=0)
    assert w.sum() == 2
    t = np.arange(20.0)
    R = grids.insertion_matrix(t, degree, t[:-1] + 0.5)[1]
    for i in range(R.shape[1]):
        assert_allclose(R[2 * i : 2 * i + degree + 2, i], w, rtol=0, atol=1e-15)
    assert np.count_nonzero(R) == (degree + 2) * R.shape[1]


@pytest.mark.parametrize("order, sums", [(2, [1.5, 2, 2]), (3, [1, 2, 2]), (4, [0.625, 1.875, 2])])
def test_sums_of_the_prolongation_of_the_multilevel_paper(order, sums):
    net = kan([1, 1], intervals=7, degree=order - 1, base=None)
    columns = [grids.refine(net, row, exterior="fine")[1] for row in np.eye(net.size)]  # R^T, row by row
    assert_allclose(np.sum(columns, 0), 1, rtol=1e-15)
    total = np.sum(columns, 1)
    assert_allclose(total, sums + [2] * (len(total) - 6) + sums[::-1], rtol=1e-15)


@pytest.mark.parametrize(
    "new, degree, message",
    [
        ([5.5], 1, r"new_knots must lie in \[0, 5\]"),
        ([-1, 2.5], 1, "reach from -1 to 2.5"),
        ([2, 2], 1, "knot 2 would appear 3 times, but degree 1 allows 2"),
        ([[2.5]], 1, "must be vectors"),
        ([2.5], 99, "degree must be from 0"),
    ],
)
def test_insertion_refuses(new, degree, message):
    with pytest.raises(ValueError, match=message):
        grids.insertion_matrix(np.arange(6.0), degree, new)


@pytest.mark.parametrize(
    "knots, message",
    [
        ([0, 1, 3, 2.0], "knots must not decrease, but 3 is followed by 2; sort"),
        ([0, 1.0], "degree 1 needs at least 3 knots, .* has 2"),
    ],
)
def test_insertion_refuses_knots(knots, message):
    with pytest.raises(ValueError, match=message):
        grids.insertion_matrix(knots, 1, [0.5])


# --------------------------------------------------------------------------------- exact changes of a whole network


def rows_of(kind, P, degree, rng):
    """Knots of P inputs: 4 intervals or so around [-1, 1]."""
    if kind == "uniform":
        return BSpline.uniform(P, 4, degree, -1, 1).knots
    if kind == "random":
        return np.arange(-degree, 5 + degree) / 2 - 1 + rng.uniform(-0.2, 0.2, (P, 5 + 2 * degree))
    if kind == "repeated":  # the rows differ in where their knots are double, and in how many are
        steps = rng.choice([0.0, 0.4, 0.5], (P, 6 + 2 * degree), p=[0.25, 0.25, 0.5])
        return np.cumsum(np.where(np.arange(6 + 2 * degree) % 2, 0.5, steps), 1) - 1.5 - degree / 2
    return np.tile(np.repeat([-1, -0.2, 0.5, 1], [degree + 1, 1, 1, degree + 1]), (P, 1))  # clamped


def network(degree=3, knots="uniform", outside="zero", weights="full", seed=0):
    """[2, [1, 1], 1]: a product node, and an input map by which a third of the hidden values leave the domain."""
    rng = generator(seed)
    layers = []
    for P, S, nodes in (2, 3, Nodes((1, 2))), (2, 1, None):
        basis = BSpline(rows_of(knots, P, degree, rng), degree, outside)
        layer = spline_layer(P, S, basis, bias=True, scaled=weights in ("scaled", "masked"), nodes=nodes)
        spline = layer.terms["spline"].weights
        if weights == "masked":
            spline = Masked(spline, np.arange(S * P).reshape(S, P) % 3 > 0)
        if weights == "fixed":
            spline = Fixed(rng.normal(size=(S, P, basis.size)))
        terms = {**layer.terms, "spline": Linear(basis, spline), "wave": Linear(Chebyshev(2), Full((S, P, 3)))}
        layers.append(replace(layer, terms=terms))
    first = KAN(layers[:1])
    theta = rng.normal(size=KAN(layers).size)
    x = points_of(first, 1.0) if outside == "error" else points_of(first)
    hidden = np.quantile(first(theta[: first.size], x), [1 / 6, 5 / 6], axis=0)
    return KAN((layers[0], replace(layers[1], normalise=MinMax(*hidden)))), theta


def points_of(net, far=1.6, N=200):
    """Points in and far around the domain of the first layer."""
    low, high = net.layers[0].terms["spline"].basis.domain.T
    return (low + high) / 2 + (high - low) / 2 * generator(9).uniform(-far, far, (N, len(low)))


def assert_same_function(old, new, x, digits=1e-13):
    for f, g in zip(old[0].derivatives(old[1], x), new[0].derivatives(new[1], x)):
        assert_allclose(g, f, rtol=0, atol=digits * max(1, np.abs(f).max()))


def seen(net, theta, x, l):
    """What the terms of layer l see for inputs x."""
    below = KAN(net.layers[:l]) if l else None
    z = below(theta[: below.size], x) if l else x
    return net.layers[l].normalise.derivatives(z, 0)[1][0, ..., 0] if net.layers[l].normalise else z


def intervals_of(net):
    return [term.basis.intervals for layer in net.layers for n, term in layer.terms.items() if n == "spline"]


@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
@pytest.mark.parametrize("knots", ["uniform", "random", "repeated", "clamped"])
@pytest.mark.parametrize("degree", range(1, 6))
def test_refinement_keeps_the_function_on_the_whole_line(degree, knots, outside):
    old = network(degree, knots, outside)
    new = grids.refine(*old)
    x = points_of(old[0])
    assert min(intervals_of(new[0])) > min(intervals_of(old[0]))
    z = seen(*old, x, 1)
    low, high = old[0].layers[1].terms["spline"].basis.domain.T
    assert (((z < low) | (z > high)).sum(0) > 10).all() and (((z > low) & (z < high)).sum(0) > 10).all()
    assert_same_function(old, new, x, 1e-12 if knots == "repeated" or degree == 5 else 1e-13)


@pytest.mark.parametrize("weights", ["full", "scaled", "masked", "fixed"])
@pytest.mark.parametrize("change", ["refine", "insert"])
def test_exact_changes_keep_every_kind_of_weights(weights, change):
    net, theta = network(weights=weights)
    kept = theta.copy()
    if change == "refine":
        new, vector = grids.refine(net, theta)
    else:
        new, vector = grids.insert_knots(net, theta, 1, [[0.1, -1.3], [0.2, 0.2]])
    assert_same_function((net, theta), (new, vector), points_of(net))
    assert_array_equal(theta, kept)
    before, after = net.split(theta), new.split(vector)
    assert set(before) == set(after)
    for name in before:
        if not name.endswith("spline.W"):
            assert_array_equal(after[name], before[name])
    own, other = (n.layers[1].terms["spline"].weights for n in (net, new))
    assert type(own) is type(other)
    if weights == "masked":
        assert_array_equal(own.mask, other.mask)


@pytest.mark.parametrize("outside", ["zero", "linear"])
def test_repeated_refinement_doubles_all_that_it_should(outside):
    old = network(3, "uniform", outside)
    new = grids.refine(*old, times=3)
    K = [4 + 3]
    for _ in range(3):
        K.append(2 * K[-1] + 3 if outside == "zero" else 2 * (K[-1] - 3) + 3)
    assert [n + 3 for n in intervals_of(new[0])] == [K[-1]] * 2
    assert_same_function(old, new, points_of(old[0]), 3e-13)
    basis = new[0].layers[0].terms["spline"].basis
    assert (basis.steps > 0).all() and basis.outside == outside
    ends = old[0].layers[0].terms["spline"].basis
    assert_array_equal(basis.knots[:, [0, -1]] if outside == "zero" else basis.domain,
                       ends.knots[:, [0, -1]] if outside == "zero" else ends.domain)  # fmt: skip
    step = grids.refine(*grids.refine(*grids.refine(*old)))
    assert_array_equal(new[1], step[1])


def test_refinement_without_steps_changes_nothing():
    net, theta = network()
    assert_array_equal(grids.refine(net, theta, 0)[1], theta)


@pytest.mark.parametrize("knots", ["uniform", "random"])
def test_fine_exterior_knots_change_only_what_is_outside(knots):
    """Trap 2: inside the domain both variants are exact; outside only the nested one is."""
    old = network(3, knots, "zero")
    one = KAN(old[0].layers[:1]), old[1][: KAN(old[0].layers[:1]).size]
    new = grids.refine(*one, exterior="fine")
    basis, fine = (n.layers[0].terms["spline"].basis for n in (one[0], new[0]))
    assert_array_equal(fine.domain, basis.domain)
    assert fine.intervals == 2 * basis.intervals
    inside = points_of(one[0], 1.0)
    outside = basis.domain[:, 1] + 0.5 * (basis.knots[:, 4 + basis.intervals] - basis.domain[:, 1])
    assert_same_function(one, new, inside)
    assert np.abs(one[0](one[1], outside[None]) - new[0](new[1], outside[None])).max() > 1e-3
    assert_same_function(one, grids.refine(*one, exterior="nested"), points_of(one[0], 3.0))


@pytest.mark.parametrize("outside", ["linear", "clamp", "error"])
def test_nested_exterior_knots_are_refused_where_they_would_move_the_edge(outside):
    with pytest.raises(ValueError, match=f"widens the domain.*outside='{outside}'; leave exterior out"):
        grids.refine(*network(outside=outside), exterior="nested")
    with pytest.raises(ValueError, match="exterior must be one of"):
        grids.refine(*network(), exterior="coarse")


def test_refinement_keeps_refusing_outside():
    net = kan([1, 1], outside="error")
    theta = net.init(0)
    new, vector = grids.refine(net, theta)
    x = np.linspace(-1, 1, 50)[:, None]
    assert_allclose(new(vector, x), net(theta, x), rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="outside the domain"):
        new(vector, [[1.001]])


@pytest.mark.parametrize("outside", ["zero", "linear"])
def test_rows_with_different_repeated_knots_refine_to_one_length(outside):
    d = 2
    rows = [[-3, -2, -1, 0, 1, 2, 3, 4], [-1, -1, -1, 0, 0, 1, 1, 1], [-9, -1, -1, -1, 1, 1, 1, 2]]
    net = KAN((spline_layer(3, 2, BSpline(np.array(rows, float), d, outside)),))
    theta = net.init(0)
    new = grids.refine(net, theta, 2)
    assert_same_function((net, theta), new, generator().uniform(-4, 5, (300, 3)))


@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_inserted_knots_keep_the_function(degree, outside):
    old = network(degree, "uniform", outside)
    rows = [[0.1, -0.3, 0.1, 1.0][: 4 - (degree == 1)], [-1.0, 0.9, 0.9, 0.0][: 4 - (degree == 1)]]
    if outside == "zero":
        rows[0][0] = -1.1
    new = grids.insert_knots(*old, 0, rows)
    assert new[0].layers[1] is old[0].layers[1]
    assert_same_function(old, new, points_of(old[0]), 3e-13)
    again = grids.insert_knots(*old, 0, [0.3])
    assert intervals_of(again[0]) == [5, 4]
    assert_same_function(old, again, points_of(old[0]))


@pytest.mark.parametrize(
    "l, new, outside, error, message",
    [
        (0, [1.2], "linear", ValueError, r"of input 0 must lie in \[-1, 1\], but one is 1.2; outside='linear'"),
        (0, [9.0], "zero", ValueError, r"must lie in \[-2.5, 2.5\]"),
        (0, [[0.1], [0.2], [0.3]], "zero", ValueError, r"new must have shape \(n,\) or \(2, n\)"),
        (0, [0.1] * 5, "zero", ValueError, "knot 0.1 would appear 5 times"),
        (0, [np.nan], "zero", ValueError, "new must be finite"),
        (2, [0.1], "zero", ValueError, "l must be from 0 to 1"),
        ("0", [0.1], "zero", TypeError, "l must be an integer"),
    ],
)
def test_insert_knots_refuses(l, new, outside, error, message):
    with pytest.raises(error, match=message):
        grids.insert_knots(*network(outside=outside), l, new)


def test_a_layer_without_splines_cannot_take_knots():
    net = kan([2, 2, 1], first="linear")
    with pytest.raises(ValueError, match="layer 0 has no B-splines.*linear"):
        grids.insert_knots(net, net.init(0), 0, [0.0])
    new, theta = grids.refine(net, net.init(0))
    assert new.layers[0] is net.layers[0] or new.layers[0].terms == net.layers[0].terms
    assert_same_function((net, net.init(0)), (new, theta), generator().normal(size=(50, 2)))


# ------------------------------------------------------------------------------------------------ least squares


@pytest.mark.parametrize("with_samples", [False, True])
@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
@pytest.mark.parametrize("degree", range(1, 6))
def test_extension_to_a_multiple_is_exact_on_the_domain(degree, outside, with_samples):
    """Ledger B14: nested refinement changes nothing, 5 to 10 and 5 to 20."""
    net = kan([2, 3], intervals=5, degree=degree, outside=outside)
    theta = net.init(1)
    inside = generator().uniform(-1, 1, (150, 2))
    x = generator(1).normal(size=(100, 2)) if with_samples else None  # some far outside: they must not spoil the fit
    for G in (10, 20):
        new, vector, (report,) = grids.extend(net, theta, G, x)
        assert new.layers[0].terms["spline"].basis.intervals == G
        assert (new.layers[0].terms["spline"].basis.steps > 0).all()
        assert_array_equal(report.rank, [G + degree] * 2)
        assert_same_function((net, theta), (new, vector), inside, 2e-12)
        if outside != "zero":
            assert_same_function((net, theta), (new, vector), 3 * inside, 2e-12)
        elif not with_samples:
            assert report.error.max() < 1e-13


@pytest.mark.parametrize("degree", range(1, 6))
def test_coarse_functions_survive_the_way_there_and_back(degree):
    net, theta = network(degree, "random", "linear", "masked")
    G = intervals_of(net)[0]
    fine = grids.extend(net, theta, 3 * G)[:2]
    back, vector, _ = grids.extend(*fine, G)
    for name, a in net.split(theta).items():
        mask = net.layers[int(name[0])].terms["spline"].weights.mask[..., None] if name.endswith("spline.W") else 1
        assert_allclose(back.split(vector)[name] * mask, a * mask, rtol=0, atol=1e-9)
    for l in (0, 1):
        knots, again = (n.layers[l].terms["spline"].basis.knots for n in (net, back))
        assert_allclose(again, knots, rtol=0, atol=1e-14)


def test_extension_keeps_the_density_of_the_knots_and_the_proportion_outside():
    rows = np.array([[-1.5, -1.2, -1, -0.9, -0.5, 0.5, 1, 1.1, 3], [0, 0, 0, 1, 2, 4, 8, 8, 8.0]])
    net = KAN((spline_layer(2, 1, BSpline(rows, 2)),))
    new, _, _ = grids.extend(net, net.init(0), 6)
    knots = new.layers[0].terms["spline"].basis.knots
    at = np.linspace(0, 4, 7)
    for row, old in zip(knots, rows):
        assert_allclose(row[2:-2], np.interp(at, np.arange(5), old[2:-2]), rtol=0, atol=1e-14)
        assert_allclose(row[2] - row[:2], (old[2] - old[:2]) * 4 / 6, rtol=1e-14)
        assert_allclose(row[-2:] - row[-3], (old[-2:] - old[-3]) * 4 / 6, rtol=1e-14)


def test_extension_that_does_not_nest_reports_its_error():
    net = kan([1, 1], intervals=5, degree=3, base=None)
    theta = generator(3).normal(size=net.size)
    x = np.linspace(-1, 1, 4001)[:, None]
    errors = []
    for G in (7, 13, 26, 52, 104):
        new, vector, (report,) = grids.extend(net, theta, G)
        errors.append(np.abs(new(vector, x) - net(theta, x)).max())
        assert 0.6 * errors[-1] < report.error[0] < 1.01 * errors[-1]  # at Gauss points, against 4001 points
        assert report.name == "0.spline" and report.columns == G + 3
    assert errors[-1] < errors[0] / 500  # third derivatives jump: h^3


def test_prior_bounds_both_errors():
    """rms on samples <= sqrt(1 + prior) delta, on the domain <= sqrt(1 + 1/prior) delta, as the module's text says."""
    old, new = BSpline.uniform(1, 5, 3), BSpline.uniform(1, 11, 3)
    c = generator(4).normal(size=old.size)
    x = generator(5).uniform(-1, -0.4, 30)
    t = np.linspace(-1, 1, 20001)
    gap = lambda R, s: new.dense(s[:, None])[:, 0] @ (R @ c) - old.dense(s[:, None])[:, 0] @ c
    rms = lambda e: np.sqrt(np.mean(e**2))
    delta = np.abs(gap(grids.transfer_matrix(old, new)[0], t)).max()
    for prior in (1e-4, 1e-2, 1.0):
        R, rank = grids.transfer_matrix(old, new, x, prior)
        assert rank == new.size
        assert rms(gap(R, x)) <= np.sqrt(1 + prior) * delta
        assert rms(gap(R, t)) <= np.sqrt(1 + 1 / prior) * delta


@pytest.mark.parametrize("N, prior", [(40, 0.01), (7, 3.0), (0, None)])
@pytest.mark.parametrize("outside", ["zero", "linear", "clamp"])
def test_transfer_minimises_what_the_text_says(outside, N, prior):
    """The gradient of 1/N sum (g - f)^2 + prior/(b - a) int (g - f)^2 vanishes; the integral by parts of 1/400 here."""
    old = BSpline.uniform(1, 5, 3, outside=outside)
    new = BSpline(grids.knots_from_samples(np.array([[-1.0], [0.0], [1.6]]), 8, 3, "pykan", 1.0), 3, outside)
    x = generator(N).uniform(-1, 1.6, N)
    R, _ = grids.transfer_matrix(old, new, x, prior) if N else grids.transfer_matrix(old, new)
    u, w = np.polynomial.legendre.leggauss(5)
    t = (np.linspace(-1, 1.6, 1041)[:-1, None] + 0.00125 * (1 + u)).ravel()  # old and new knots are among the ends
    w = np.tile(w, 1040) / 2080
    gap = lambda s: new.dense(s[:, None])[:, 0] @ R - old.dense(s[:, None])[:, 0]
    slope = (new.dense(t[:, None])[:, 0] * w[:, None]).T @ gap(t) * (prior or 1)
    if N:
        slope += new.dense(x[:, None])[:, 0].T @ gap(x) / N
    assert np.abs(gap(t)).max() > 1e-3
    assert_allclose(slope, 0, atol=1e-13 * max(1, prior or 1))


def test_samples_alone_give_the_minimum_norm_solution_every_time():
    """Ledger B4, B6, B7: a curve on samples in half of its grid; zero columns first; rank reported."""
    basis = BSpline.uniform(1, 5, 3)
    x = generator().uniform(0.3, 0.9, 500)
    B = basis.dense(x[:, None])[:, 0]
    assert (B[:, 0] == 0).all()
    R, rank = grids.transfer_matrix(basis, basis, x, prior=0)
    assert rank == np.linalg.matrix_rank(B) < basis.size
    assert_allclose(R, np.linalg.pinv(B) @ B, rtol=0, atol=1e-9)
    assert_allclose(B @ R, B, rtol=0, atol=1e-13)
    for _ in range(5):
        assert_array_equal(grids.transfer_matrix(basis, basis, x.copy(), prior=0)[0], R)


def test_refining_a_fresh_network_on_samples_keeps_its_output():
    """Ledger B5, B8: [2, 3, 1], 5 to 20 on 500 points, hidden values in a part of their grid; and again, and again."""
    net = kan([2, 3, 1], intervals=5, degree=3)
    theta = 0.4 * net.init(0)
    x = generator().uniform(-1, 1, (500, 2))
    new, vector, report = grids.extend(net, theta, 20, x)
    assert_allclose(new(vector, x), net(theta, x), rtol=0, atol=1e-12)
    assert [r.name for r in report] == ["0.spline", "1.spline"]
    assert all((r.rank == 23).all() and r.error.max() < 1e-13 for r in report)
    only = grids.extend(net, theta, 20, x, prior=0)
    assert_allclose(only[0](only[1], x), net(theta, x), rtol=0, atol=1e-10)
    assert (only[2][1].rank < 23).all()
    for _ in range(3):
        assert_array_equal(grids.extend(net, theta, 20, x)[1], vector)
        assert_array_equal(grids.extend(net, theta, 20, x, prior=0)[1], only[1])


def test_curve_from_gaussian_samples_is_not_lost():
    """Ledger B5, second example: 5 to 20 on 200 Gaussian samples gave the zero function."""
    net = kan([1, 1], intervals=5, degree=3, base=None)
    theta = generator(1).normal(size=net.size)
    x = generator(2).normal(size=(200, 1))
    x = x[np.abs(x) <= 1][:, None]
    for prior in (0.0, 0.01):
        new, vector, _ = grids.extend(net, theta, 20, x, prior=prior)
        assert_allclose(new(vector, x), net(theta, x), rtol=0, atol=1e-10)


def test_sparse_samples_leave_coefficients_and_curve_bounded():
    """Ledger B9: 100 samples for 50 intervals. Fits to samples alone explode in some draws, with the prior in none."""
    net = kan([1, 1], intervals=5, degree=3, base=None)
    worst = {0.0: [0, 0], 0.01: [0, 0]}  # prior: largest coefficient, largest error between the samples
    for seed in range(40):
        rng = generator(seed)
        theta = rng.uniform(-1, 1, net.size)
        x = rng.uniform(-1, 1, (100, 1))
        t = np.linspace(x.min(), x.max(), 500)[:, None]
        for prior, sizes in worst.items():
            new, vector, _ = grids.update_from_samples(net, theta, x, intervals=50, prior=prior)
            gap = np.abs(new(vector, t) - net(theta, t)).max()
            sizes[:] = max(sizes[0], np.abs(vector).max()), max(sizes[1], gap)
    assert worst[0.0][0] > 100 and worst[0.0][1] > 10
    assert worst[0.01][0] < 1 and worst[0.01][1] < 1e-3


@pytest.mark.parametrize("rule", ["kanref", "pykan", "efficient", "jaxkan"])
def test_more_functions_than_samples_is_finite(rule):
    """Ledger B13: 60 samples and 50 intervals, where normal equations are singular."""
    net = kan([2, 2], intervals=50, degree=3, scaled=True)
    theta = net.init(0)
    x = generator(6).uniform(-1, 1, (40, 2))
    single = grids.update_from_samples(net, theta.astype(np.float32), x, rule)[1]
    assert single.dtype == np.float32 and np.isfinite(single).all()
    new, vector, (report,) = grids.update_from_samples(net, theta, x, rule)
    assert np.isfinite(vector).all()
    tolerance = 0.02 if rule == "kanref" else 1e-9
    assert_allclose(new(vector, x), net(theta, x), rtol=0, atol=tolerance * np.abs(net(theta, x)).max())
    assert (report.rank == 53).all() if rule == "kanref" else (report.rank <= 40).all()


def test_no_sample_to_fit_is_an_error_and_not_a_zero_curve():
    net = kan([1, 1])
    with pytest.raises(ValueError, match="no sample lies in the domain of the new knots"):
        grids.extend(net, net.init(0), 10, np.full((5, 1), 3.0), prior=0)
    x = np.linspace(-1, 1, 30)[:, None]
    theta, far = np.ones(net.size), np.full((5, 1), 1.3)
    new, vector, (report,) = grids.extend(net, theta, 10, far)
    assert_allclose(new(vector, x), net(theta, x), rtol=0, atol=1e-13)
    gap = np.abs(new(vector, far) - net(theta, far)).max()
    assert gap > 0.1
    assert_allclose(report.error, gap, rtol=1e-12)  # samples outside are not fitted, but reported


# ---------------------------------------------------------------------------------------- update from samples


@pytest.mark.parametrize("rule", LIBRARY)
def test_refit_of_one_edge_is_the_librarys(rule):
    given, wanted = (case(f"{LIBRARY[rule]}-grid-rule", part) for part in ("arrays", "expected"))
    net = KAN((spline_layer(1, 1, BSpline(given["knots"][None], 3), base=None),))
    new, theta, (report,) = grids.update_from_samples(net, given["coef"], given["x"], rule)
    assert_allclose(new.layers[0].terms["spline"].basis.knots[0], wanted["knots"], rtol=0, atol=1e-14)
    assert_allclose(theta, wanted["coef"], rtol=0, atol=1e-12)
    assert report.rank == 8


def test_update_of_a_whole_network_is_jaxkans():
    given, wanted = (case("jaxkan-spline-update-grids", part) for part in ("arrays", "expected"))
    layers, arrays = [], {}
    for l in (0, 1):
        knots, c, w, r, b = (given[f"layers.{l}.{n}"] for n in ("grid.item", "c_basis", "c_spl", "c_res", "bias"))
        layers.append(spline_layer(c.shape[1], c.shape[0], BSpline(knots, 3), scaled=True, bias=True))
        arrays |= {f"{l}.base.W": r[..., None], f"{l}.spline.W": c, f"{l}.spline.scale": w, f"{l}.bias": b}
    net = KAN(tuple(layers))
    new, theta, _ = grids.update_from_samples(net, net.join(arrays), given["samples"], "jaxkan", intervals=7)
    after = new.split(theta)
    for l in (0, 1):
        knots = new.layers[l].terms["spline"].basis.knots
        assert_allclose(knots, wanted[f"updated.layers.{l}.grid.item"], rtol=0, atol=1e-12)
        assert_allclose(after[f"{l}.spline.W"], wanted[f"updated.layers.{l}.c_basis"], rtol=0, atol=1e-10)
        assert_array_equal(after[f"{l}.spline.scale"], arrays[f"{l}.spline.scale"])
    assert_allclose(new(theta, given["x"]), wanted["y"], rtol=0, atol=1e-10)
    assert_allclose(new(theta, given["samples"]), wanted["y_samples"], rtol=0, atol=1e-11)


def test_scale_enters_once():
    """Ledger B10: efficient-kan's update multiplies the scaler in twice; here the spline part stays."""
    given, wanted = (case("efficient-kan-update-grid", part) for part in ("arrays", "expected"))
    knots, c, w, r = (given[f"layers.0.{n}"] for n in ("grid", "spline_weight", "spline_scaler", "base_weight"))
    net = KAN((spline_layer(3, 4, BSpline(knots, 3), scaled=True),))
    theta = net.join({"0.base.W": r[..., None], "0.spline.W": c, "0.spline.scale": w})
    new, vector, (report,) = grids.update_from_samples(net, theta, given["samples"], "efficient")
    basis = new.layers[0].terms["spline"].basis
    assert_allclose(basis.knots, wanted["updated.layers.0.grid"], rtol=0, atol=1e-13)
    after = new.split(vector)
    assert_allclose(after["0.spline.W"] * w[..., None], wanted["updated.layers.0.spline_weight"], rtol=0, atol=1e-10)
    curves = np.einsum("npk,qpk->nqp", net.layers[0].terms["spline"].basis.dense(given["samples"]), c * w[..., None])
    refitted = np.einsum("npk,qpk->nqp", basis.dense(given["samples"]), after["0.spline.W"] * w[..., None])
    assert_allclose(np.abs(refitted - curves).max((0, 1)), report.error, rtol=1e-9)
    B = basis.dense(given["samples"])
    assert_allclose(np.einsum("npk,nqp->qpk", B, refitted - curves), 0, atol=1e-12)  # no better fit to the old curves


@pytest.mark.parametrize("outside", ["zero", "linear", "clamp", "error"])
@pytest.mark.parametrize("mix", [None, 0.3])
def test_update_brings_every_layers_inputs_into_its_domain(outside, mix):
    net, theta = network(3, "uniform", outside, "masked")
    kept, old = theta.copy(), [layer.terms["spline"].basis.knots.copy() for layer in net.layers]
    x = generator(7).normal(size=(300, 2))
    new, vector, report = grids.update_from_samples(net, theta, x, mix=mix, intervals=30)
    for l in (0, 1):
        z, basis = seen(new, vector, x, l), new.layers[l].terms["spline"].basis
        low, high = basis.domain.T
        assert_allclose(z.min(0) - low, 0.01 * np.ptp(z, axis=0), rtol=1e-6)
        assert_allclose(high - z.max(0), 0.01 * np.ptp(z, axis=0), rtol=1e-6)
        assert basis.outside == outside and basis.intervals == 30
    assert_array_equal(theta, kept)
    for layer, knots in zip(net.layers, old):
        assert_array_equal(layer.terms["spline"].basis.knots, knots)
    before, after = net.split(theta), new.split(vector)
    assert all(np.array_equal(after[n], before[n]) for n in before if not n.endswith("spline.W"))
    assert all((r.rank == r.columns).all() for r in report)
    again = grids.update_from_samples(net, theta, x, mix=mix, intervals=30)
    assert_array_equal(again[1], vector)
    if outside != "error":
        assert_allclose(new(vector, x), net(theta, x), rtol=0, atol=0.05 * np.abs(net(theta, x)).max())


def test_update_is_exact_where_the_new_splines_can_be_the_old_ones():
    """Straight curves are splines on any knots: the network keeps them, and the curve beyond the samples."""
    net = kan([2, 2, 1], intervals=6, degree=3, base=None, outside="linear")
    theta = net.join(
        {f"{l}.spline.W": np.broadcast_to(np.linspace(-0.4, 0.4, 9), (q, 2, 9)) for l, q in ((0, 2), (1, 1))}
    )
    x = generator(8).uniform(-3, 0, (80, 2))
    for rule, mix in (("kanref", None), ("kanref", 0.0), ("pykan", 0.5)):
        new, vector, report = grids.update_from_samples(net, theta, x, rule, mix)
        assert_same_function((net, theta), (new, vector), 2 * x, 1e-10)
        assert max(r.error.max() for r in report) < 1e-12


def test_update_after_an_update_keeps_the_function():
    """Ledger B34: knots that are no longer uniform are what evaluation uses, in every later step."""
    net = kan([2, 3, 1], intervals=40, degree=3)
    theta = net.init(3)
    x = generator(9).uniform(-1, 1, (1000, 2))
    new, vector, _ = grids.update_from_samples(net, theta, x, mix=0.1)
    assert (new.layers[0].terms["spline"].basis.steps == 0).all()
    y = net(theta, x)
    assert_allclose(new(vector, x), y, rtol=0, atol=3e-3 * np.abs(y).max())
    third = grids.refine(new, vector)
    assert_allclose(third[0](third[1], x), new(vector, x), rtol=0, atol=1e-13)
    fourth = grids.extend(new, vector, 80, x)
    assert_allclose(fourth[0](fourth[1], x), new(vector, x), rtol=0, atol=1e-11)


def test_chosen_layers_only():
    net, theta = network()
    x = points_of(net)
    for change in (
        lambda layers: grids.update_from_samples(net, theta, x, layers=layers),
        lambda layers: grids.extend(net, theta, 9, layers=layers),
        lambda layers: grids.refine(net, theta, layers=layers),
    ):
        new = change([1])[0]
        assert change([1, 1])[0].size == new.size
        assert new.layers[0] is net.layers[0]
        assert not np.array_equal(new.layers[1].terms["spline"].basis.knots, net.layers[1].terms["spline"].basis.knots)
        with pytest.raises(ValueError, match="an entry of layers must be from 0 to 1"):
            change([2])
        with pytest.raises(TypeError, match=r"layers must be None or a list of layer indices, but it is 1; use \[1\]"):
            change(1)


def test_two_spline_terms_change_together_and_the_rest_stays():
    first, second = BSpline.uniform(2, 4, 3), BSpline.uniform(2, 7, 1, -2, 2, "linear")
    terms = {
        "a": Linear(first, Full((3, 2, 7))),
        "b": Linear(second, Scaled(Full((3, 2, 8)))),
        "c": Linear(Chebyshev(3), Full((3, 2, 4))),
    }
    net = KAN((Layer(terms, normalise=MinMax([-1, -2], [3, 4])),))
    theta = generator().normal(size=net.size)
    x = generator(1).uniform([-3, -4], [5, 6], (200, 2))
    assert_same_function((net, theta), grids.refine(net, theta), x)
    new, _, report = grids.update_from_samples(net, theta, x)
    assert [r.name for r in report] == ["0.a", "0.b"]
    assert new.layers[0].terms["c"] is terms["c"]
    seen = (x - [-1, -2]) / [2, 3] - 1
    for name in "ab":
        low, high = new.layers[0].terms[name].basis.domain.T
        assert_allclose(low, seen.min(0) - 0.01 * np.ptp(seen, axis=0), rtol=1e-9)


@pytest.mark.parametrize(
    "change", [lambda n, t, x: grids.refine(n, t), lambda n, t, x: grids.extend(n, t, 10)[:2],
               lambda n, t, x: grids.insert_knots(n, t, 0, [0.3]),
               lambda n, t, x: grids.update_from_samples(n, t, x)[:2]], ids=["refine", "extend", "insert", "update"]
)  # fmt: skip
def test_float32_is_computed_in_float64_and_cast_back(change):
    net = kan([2, 3, 1])
    theta = net.init(0).astype(np.float32)
    x = generator().uniform(-0.5, 0.5, (50, 2))
    new, vector = change(net, theta, x)
    assert vector.dtype == np.float32
    wide = change(net, theta.astype(np.float64), x)
    assert_allclose(vector, wide[1].astype(np.float32), rtol=0, atol=1e-6)  # an update casts samples: knots move an ulp
    assert_allclose(new(vector, x.astype(np.float32)), wide[0](wide[1], x), rtol=0, atol=1e-5)


def test_update_of_a_float32_network_knows_what_it_can_resolve():
    net = kan([1, 1])
    x = 1000 + 1e-3 * np.linspace(0, 1, 20)[:, None]
    for dtype, width in ((np.float64, 1.02e-3), (np.float32, 10 * np.sqrt(np.finfo(np.float32).eps) * 1000)):
        new = grids.update_from_samples(net, net.init(0).astype(dtype), x)[0]
        assert_allclose(np.diff(new.layers[0].terms["spline"].basis.domain[0]), width, rtol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda n, t: grids.refine(n, t[:-1]), "theta must hold"),
        (lambda n, t: grids.refine(n, np.stack([t, t])), "theta must be one vector"),
        (lambda n, t: grids.refine(n, t, -1), "times must be from 0"),
        (lambda n, t: grids.extend(n, t, 0), "intervals must be from 1"),
        (lambda n, t: grids.extend(n, t, 5, prior=-1), "prior must be at least 0"),
        (lambda n, t: grids.extend(n, t, 5, np.zeros((3, 5))), r"x must have shape \(samples, 2\)"),
        (lambda n, t: grids.update_from_samples(n, t, np.zeros((3, 5))), r"x must have shape \(samples, 2\)"),
        (lambda n, t: grids.update_from_samples(n, t, np.zeros((3, 2)), "grid"), "rule must be one of"),
        (lambda n, t: grids.update_from_samples(n, t, np.zeros((3, 2)), intervals=0), "intervals must be from 1"),
    ],
)
def test_changes_refuse(change, message):
    with pytest.raises(ValueError, match=message):
        change(*network())


def test_public_names():
    import kanref

    for name in ("extend", "insert_knots", "refine", "update_from_samples"):
        assert getattr(kanref, name) is getattr(grids, name)
