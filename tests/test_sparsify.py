"""Sparsity: penalties with exact gradients, attribution as in the paper and in pykan, pruning that changes nothing else."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases, check, spec
from kanref.bases import BSpline, Chebyshev, MinMax
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.nodes import AFFINE, Nodes
from kanref.objectives import minibatches, mse, weighted_sum
from kanref.optimize import adam, lbfgs, levenberg_marquardt
from kanref.sparsify import METRICS, attribute, magnitudes, masked, penalty, prune
from kanref.sparsify.metrics import natural_entropy, row_and_column_entropy
from kanref.symbolic import fix
from kanref.terms import Linear
from kanref.weights import Full, Masked, Scaled


def mixed(widths=(2, 3), mask=None, **options):
    """A layer of splines, masked where formulas stand: sin at (0, 1), and exp at (2, 0) if there is such an output."""
    P, Q = widths
    formulas = ((0, 1, LIBRARY["sin"]), *(((2, 0, LIBRARY["exp"]),) if Q > 2 else ()))
    mask = np.ones((Q, P)) if mask is None else np.array(mask, float)
    for q, p, _ in formulas:
        mask[q, p] = 0
    layer = spline_layer(P, Q, BSpline.uniform(P, 2, 2), mask=mask, **options)
    return Layer({**layer.terms, "symbolic": Symbolic((Q, P), formulas)}, layer.bias, layer.normalise, layer.nodes)


small = {"intervals": 2, "degree": 2}
RANGES = MinMax(np.array([-2.0, -1.5]), np.array([1.5, 2.0]))
NETS = {
    "plain": kan([2, 3, 1], **small),
    "scaled, bias": kan([2, 2, 2], scaled=True, bias=True, **small),
    "products, affine": kan([2, [1, [2, 3]], 2], affine=AFFINE, intervals=1, degree=2),
    "maps": KAN(
        (spline_layer(2, 2, BSpline.uniform(2, 2, 2), normalise=RANGES), *kan([2, 1], normalise="tanh").layers)
    ),
    "masked": KAN(
        (spline_layer(2, 2, BSpline.uniform(2, 2, 2), mask=[[1, 0], [0.5, 1]]), *kan([2, 1], **small).layers)
    ),
    "formulas": KAN((mixed(bias=True), spline_layer(3, 1, BSpline.uniform(3, 2, 2)))),
    "formulas and products": KAN((mixed((2, 4), nodes=Nodes((1, 1, 2))), mixed((3, 2)))),
}
OTHERS = {
    "chebyshev": KAN((Layer({"series": Linear(Chebyshev(3), Full((2, 2, 4)))}), *kan([2, 1], **small).layers)),
    "linear first": kan([2, 3, 1], first="linear", bias=True, **small),
    "only formulas": KAN((*kan([2, 2], **small).layers, Layer({"s": Symbolic((1, 2), ((0, 0, LIBRARY["sin"]),))}))),
}
ALL = NETS | OTHERS
every_net = pytest.mark.parametrize("net", ALL.values(), ids=ALL)
every_metric = pytest.mark.parametrize("metric", METRICS)


def point(net, seed=0):
    return 0.6 * np.random.default_rng(seed).normal(size=net.size)


def data(net, N=30, seed=1):
    return np.random.default_rng(seed).uniform(-1.2, 1.2, (N, net.inputs))


# ------------------------------------------------------------------------------------------- the penalty by its definition


def edges_by_definition(layer, z, formulas=True):
    """phi (Q, P) of a layer of `spec` at P numbers z, of any number type; and what the terms see of z."""
    z = [[c] for c in z]
    if layer.normalise:
        z = [layer.normalise(p, series) for p, series in enumerate(z)]
    phi = sum((W * np.array([basis(p, c) for p, c in enumerate(z)])[..., 0]).sum(-1) for basis, W in layer.terms)
    for q, p, f, (a, b, c, d) in layer.formulas if formulas else ():
        phi[q, p] = phi[q, p] + c * f([a * z[p][0] + b])[0] + d
    return phi, [c[0] for c in z]


def entropy_by_definition(p, log):
    return -sum(c * log(c) for c in p.ravel() if c != 0)


def penalty_by_definition(net, theta, x, metric, l1, entropy):
    """The penalty of edges in plain NumPy; complex numbers are compared by their real parts."""
    value, z = 0, [list(sample) for sample in x]
    absolute = lambda a: np.where(np.real(a) < 0, -a, a)
    deviation = lambda a: np.sqrt(((a - a.mean(0)) ** 2).sum(0) / (len(a) - 1))
    log2 = lambda p: np.log2(p + 1e-4) if np.isreal(p) else np.log(p + 1e-4) / np.log(2)
    for l, (own, layer) in enumerate(zip(net.layers, check.definition(net, theta))):
        pairs = [edges_by_definition(layer, c, metric not in ("pykan-0.2.8", "edge_forward_spline_n")) for c in z]
        phi, seen = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
        if metric in ("paper", "pykan-0.0", "efficient-kan"):
            V = absolute(phi).mean(0) if metric != "efficient-kan" else stored(net, theta, l)
            if metric == "pykan-0.0":
                domain = own.terms["spline"].basis.domain
                V = V / (domain[:, 1] - domain[:, 0] + 1e-4)
            value += l1 * V.sum()
            if V.sum() != 0:
                value += entropy * entropy_by_definition(V / V.sum(), log2 if metric == "pykan-0.0" else np.log)
        else:
            V = deviation(phi)
            if metric != "edge_forward_spline_u":
                V = V / (deviation(seen) + 0.1)
            rows = [entropy_by_definition(row / (row.sum() + 1), log2) for row in V]
            columns = [entropy_by_definition(column / (column.sum() + 1), log2) for column in V.T]
            value += l1 * V.sum() + entropy * (np.mean(rows) + np.mean(columns))
        z = [[series[0] for series in spec.layer(layer, [[c] for c in sample])] for sample in z]
    return value


def stored(net, theta, l):
    """efficient-kan's mean |spline_weight| of layer l, scales left out; 0 without splines."""
    if "spline" not in net.layers[l].terms:
        return np.zeros((net.layers[l].sums, net.layers[l].inputs))
    real, imaginary = (net.split(part)[f"{l}.spline.W"] for part in (theta.real, np.ascontiguousarray(theta.imag)))
    W, weights = real + 1j * imaginary if np.iscomplexobj(theta) else real, net.layers[l].terms["spline"].weights
    mask = weights.mask if isinstance(weights, Masked) else np.ones(W.shape[:2])
    return np.where(W.real < 0, -W, W).mean(2) * mask


def applies(metric, name):
    return metric != "pykan-0.0" or name in NETS


CASES = [(metric, name) for metric in METRICS if metric != "pykan-0.2.8" for name in ALL if applies(metric, name)]


@pytest.mark.parametrize("metric, name", CASES)
def test_value_and_gradient_are_those_of_the_definition(metric, name):
    net = ALL[name]
    theta, x = point(net), data(net, 4)
    value, gradient = penalty(net, x, metric, 0.7, 1.3)(theta)
    by_definition = lambda theta: penalty_by_definition(net, theta, x, metric, 0.7, 1.3)
    assert_allclose(value, by_definition(theta), rtol=1e-13)
    assert_allclose(gradient, check.complex_step(by_definition, theta), rtol=0, atol=1e-11 * np.abs(gradient).max())


@every_metric
def test_the_gradient_of_everything_together_by_differences(metric):
    """Coefficient penalties too; and Taylor remainders of orders 1 and 2 where no |.| changes sign."""
    net = kan([2, [1, 1], 2], scaled=True, intervals=3, degree=2)
    theta, x = np.abs(point(net)) + 0.1, np.random.default_rng(3).uniform(0.1, 0.9, (40, 2))
    objective = penalty(net, x, metric, 0.7, 1.3, 0.2, 0.05)
    if metric == "paper":
        theta = theta + np.linspace(0, 1, theta.size)  # no two coefficients equal
    check.check_objective(objective, theta, np.random.default_rng(4))
    gradient = objective(theta)[1]
    errors = [
        check.difference_error(lambda t, e=e: objective.value(theta + t * e), g)
        for e, g in zip(np.eye(theta.size), gradient)
    ]
    assert max(errors) < 1e-8 * np.abs(gradient).max()


def test_coefficient_penalties_as_they_are_written():
    """Mean over functions in pykan 0.0, over outputs in 0.2.8; of the coefficients that multiply the functions."""
    net = kan([2, 3], scaled=True, intervals=4)
    theta, x = point(net), data(net)
    W = net.split(theta)["0.spline.W"] * net.split(theta)["0.spline.scale"][:, :, None]
    for metric, axis in (("paper", 2), ("pykan-0.0", 2), ("pykan-0.2.8", 0)):
        value = penalty(net, x, metric, 0, 0, 0.3, 0.7).value(theta)
        expected = 0.3 * np.abs(W).mean(axis).sum() + 0.7 * np.abs(np.diff(W)).mean(axis).sum()
        assert_allclose(value, expected, rtol=1e-14)


def test_the_papers_penalty_by_hand():
    """Two edges 3x and -x on x = +-1: |phi| = 3, 1; L1 = 4; S = -(3/4) ln(3/4) - (1/4) ln(1/4)."""
    net = KAN((Layer({"linear": Linear(bases.identity, Full((2, 1, 1)))}),))
    x, theta = np.array([[1.0], [-1.0]]), np.array([3.0, -1.0])
    S = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert_allclose(penalty(net, x, entropy=0).value(theta), 4, rtol=1e-15)
    assert_allclose(penalty(net, x, l1=0).value(theta), S, rtol=1e-15)
    value, gradient = penalty(net, x)(theta)
    assert_allclose(value, 4 + S, rtol=1e-15)
    assert_allclose(gradient, [1 - (np.log(0.75) + S) / 4, -1 + (np.log(0.25) + S) / 4], rtol=1e-14)


# --------------------------------------------------------------------------------------------------- what entropy should be


def test_b28_the_papers_entropy_is_scale_invariant_and_zero_for_one_edge():
    """Ledger B28: pykan's row and column entropies are neither."""
    V = np.random.default_rng(0).uniform(size=(4, 3))
    assert_allclose(natural_entropy(1e6 * V)[0], natural_entropy(V)[0], rtol=1e-14)
    assert abs(row_and_column_entropy(1e6 * V)[0] - row_and_column_entropy(V)[0]) > 0.1
    one = np.array([[0.3]])
    assert natural_entropy(one)[0] == 0 and natural_entropy(one)[1] == 0
    assert row_and_column_entropy(one)[0] > 0.5
    assert_allclose(natural_entropy(np.full((4, 3), 0.2))[0], np.log(12), rtol=1e-15)


def test_b28_the_papers_l1_is_the_mean_absolute_edge():
    net = kan([2, 3, 1])
    theta, x = point(net), data(net)
    z = net.activations(theta, x)
    for l, V in enumerate(magnitudes(net, theta, x)):
        assert_allclose(V, np.abs(net.edges(theta, l, z[l])).mean(0), rtol=1e-14)


@every_metric
def test_a_layer_of_zeros_and_masked_edges_have_finite_gradients(metric):
    net = NETS["masked"]
    x = data(net)
    for theta in (np.zeros(net.size), point(net)):
        value, gradient = penalty(net, x, metric)(theta)
        assert np.isfinite(value) and np.isfinite(gradient).all()
    value, gradient = penalty(net, x, metric)(np.zeros(net.size))
    assert value == 0 and not gradient.any()


# --------------------------------------------------------------------------------------------- numbers of pykan 0.2.8


def pykan_network():
    """pykan's KAN([2, [2, 1], 2], grid=3, k=3) with coef[l][i, j, m] = sin(1 + 3i + 5j + 7m + 11l), scale_sp = 1,
    scale_base[l][i, j] = cos(2i + 3j + l), mask[1][2, 1] = 0 with its coefficients, and the formula
    0.75 sin(1.5 x + 0.25) - 0.5 on edge (i, j) = (1, 0) of layer 0; in the layout of kanref.
    """
    layers, arrays = [], {}
    for l, (P, S, nodes) in enumerate(((2, 4, Nodes((1, 1, 2))), (3, 2, None))):
        q, p, m = np.ogrid[:S, :P, :6]
        mask = np.ones((S, P))
        arrays[f"{l}.spline.W"] = np.sin(1 + 3 * p + 5 * q + 7 * m + 11 * l)
        arrays[f"{l}.base.W"] = np.cos(2 * p + 3 * q + l)[..., :1]
        off = (0, 1) if l == 0 else (1, 2)
        mask[off] = 0
        arrays[f"{l}.spline.W"][off] = 0
        layer = spline_layer(P, S, BSpline.uniform(P, 3, 3), mask=mask, nodes=nodes)
        if l == 0:
            layer = Layer({**layer.terms, "symbolic": Symbolic((S, P), ((0, 1, LIBRARY["sin"]),))}, nodes=nodes)
            arrays["0.symbolic.affine"] = np.array([[1.5, 0.25, 0.75, -0.5]])
        layers.append(layer)
    net, n = KAN(tuple(layers)), np.arange(40)
    return net, net.join(arrays), np.stack([np.sin(1.7 * n), np.cos(2.3 * n)], 1)


# What pykan 0.2.8 (torch 2.13, float64) gives for that network at those 40 samples: acts_scale_spline, acts_scale,
# edge_actscale, edge_scores, node_attribute_scores and node_scores after attribute(), and reg(metric, l1=1, entropy=2, 0, 0).
PYKAN = {
    "edge_forward_spline_n": (
        [
            [0.263621085975, 0.0],
            [0.518665963086, 0.239453404496],
            [1.150644213214, 0.807867237931],
            [0.101001007424, 0.334389153801],
        ],
        [[0.580858952401, 0.78911310849, 0.412135323235], [0.489506250731, 0.36277946321, 0.0]],
    ),
    "edge_forward_sum": (
        [
            [0.263621085975, 0.717772205484],
            [0.518665963086, 0.239453404496],
            [1.150644213214, 0.807867237931],
            [0.101001007424, 0.334389153801],
        ],
        [[0.580858952401, 0.78911310849, 0.412135323235], [0.489506250731, 0.36277946321, 0.0]],
    ),
    "edge_forward_spline_u": (
        [
            [0.213052713401, 0.586753092771],
            [0.419174325055, 0.195744589424],
            [0.929925126728, 0.660402557779],
            [0.08162677355, 0.27335116724],
        ],
        [[0.43075044061, 0.407624034994, 0.150072198617], [0.363005566691, 0.187397252707, 0.0]],
    ),
    "edge_backward": (
        [
            [0.286243660382, 0.788322994504],
            [0.619266673794, 0.28918302854],
            [0.109991196404, 0.07811216769],
            [0.039334057394, 0.131721615755],
        ],
        [[0.396435972647, 0.375151864169, 0.138117137946], [0.465676410728, 0.24039983964, 0.0]],
    ),
    "node_backward": (
        [[0.286243660382, 0.788322994504], [0.619266673794, 0.28918302854], [0.149325253798, 0.209833783445]],
        [[0.658368249817, 0.748582672732], [0.396467338156, 0.538757133757]],
    ),
}
PYKAN_NODES = [[1.054835587973, 1.287339806489], [0.862112383374, 0.615551703809, 0.138117137946], [0.5, 0.5]]
PYKAN_REG = {
    "edge_forward_spline_n": 14.357437561729425,
    "edge_forward_sum": 15.66442840997145,
    "edge_forward_spline_u": 13.19040036393661,
}
# reg(metric, 1, 2, 0.5, 0.25), and torch's gradient of it by coef and by scale_base of layers 0 and 1, each in pykan's order
# (in, out, basis) against cos(0), cos(1), cos(2), ...
PYKAN_GRADIENT = {
    "edge_forward_spline_n": (
        24.759812943810616,
        (2.5449407822206336, -1.3983005438273735),
        (-1.812829553746421, 0.9380190143924618),
    ),
    "edge_forward_spline_u": (
        23.5927757460178,
        (2.909365130031262, -1.2828563120101237),
        (-2.6140039622415268, 0.7669116641520498),
    ),
}


@pytest.mark.parametrize("metric", PYKAN)
def test_magnitudes_are_pykans(metric):
    for found, expected in zip(magnitudes(*pykan_network(), metric), PYKAN[metric], strict=True):
        assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_backward_scores_are_pykans():
    scores = attribute(*pykan_network())
    for found, expected in zip(scores.nodes, PYKAN_NODES, strict=True):
        assert_allclose(found, expected, rtol=0, atol=1e-11)
    for found, expected in zip(scores.edges, PYKAN["edge_backward"], strict=True):
        assert_allclose(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("metric", PYKAN_REG)
def test_penalties_are_pykans(metric):
    net, theta, x = pykan_network()
    assert_allclose(penalty(net, x, metric, entropy=2).value(theta), PYKAN_REG[metric], rtol=1e-13)


@pytest.mark.parametrize("metric", PYKAN_GRADIENT)
def test_gradients_are_torchs(metric):
    """One gradient cannot be compared: pykan's coefficient penalties count what is masked, but those coefficients are 0."""
    net, theta, x = pykan_network()
    value, gradient = penalty(net, x, metric, 1, 2, 0.5, 0.25)(theta)
    views = net.split(gradient)
    expected, by_coefficients, by_base = PYKAN_GRADIENT[metric]
    assert_allclose(value, expected, rtol=1e-13)
    for l in range(2):
        for name, number in (("spline", by_coefficients[l]), ("base", by_base[l])):
            g = np.swapaxes(views[f"{l}.{name}.W"], 0, 1).ravel()
            assert_allclose(g @ np.cos(np.arange(g.size)), number, rtol=1e-12)


@pytest.mark.parametrize(
    "edges, widths, edges_left, scores, means",
    [
        (
            0.25,
            (2, 2, 2),
            7,
            [[0.6608009637, 0.9807888089], [0.8852322765, 0.3646799873]],
            (-0.0054089566, -0.1107630471),
        ),
        (0.4, (2, 1, 2), 2, [[0, 0.4997680655], [0.4998532407]], (0, -0.2816940020)),
    ],
)
def test_pruning_is_pykans(edges, widths, edges_left, scores, means):
    """pykan: model.prune(0.2, edges) of the network above; a node that only enters is kept there, and scores 0."""
    net, theta, x = pykan_network()
    pruned = prune(net, theta, x, nodes=0.2, edges=edges, means=False)
    assert pruned.net.widths == widths and sum(int(E.sum()) for E in pruned.report.edges) == edges_left
    for found, expected in zip(attribute(pruned.net, pruned.theta, x).nodes, scores):
        assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert_allclose(pruned.net(pruned.theta, x).mean(0), means, rtol=0, atol=1e-9)


# ------------------------------------------------------------------------------------------------------ with optimisers


def test_a_penalty_is_one_residual():
    net = NETS["plain"]
    theta, objective = point(net), penalty(net, data(net))
    (r,), J = objective.residuals(theta)
    value, gradient = objective(theta)
    assert_allclose(r**2, value, rtol=1e-15)
    assert J.shape == (1, net.size)
    assert_allclose(2 * r * J[0], gradient, rtol=1e-14)
    r, J = objective.residuals(np.zeros(net.size))
    assert r == 0 and not J.any()


@pytest.mark.parametrize("minimise", [levenberg_marquardt, lbfgs, adam])
def test_every_optimiser_minimises_data_and_penalty(minimise):
    """x^2 + 0 y with [2, 2, 1]: the loss falls, and the penalty below that of training on data alone."""
    net, x = kan([2, 2, 1], intervals=3), data(kan([2, 1]), 80)
    loss, sparse = mse(net, x, x[:, 0] ** 2), penalty(net, x)
    goal = lambda objective: objective.residuals if minimise is levenberg_marquardt else objective
    options = {"steps": 200, "rate": 0.02} if minimise is adam else {"steps": 50}
    alone = minimise(goal(loss), net.init(0), **options).theta
    together = minimise(goal(weighted_sum([(1, loss), (1e-2, sparse)])), net.init(0), **options).theta
    assert loss.value(together) < 0.05 * loss.value(net.init(0))
    assert sparse.value(together) < 0.8 * sparse.value(alone)


def test_the_penalty_makes_inputs_that_do_not_matter_vanish():
    net, x = kan([3, 2, 1], intervals=3), data(kan([3, 1]), 100)
    loss = weighted_sum([(1, mse(net, x, np.sin(2 * x[:, 1]))), (1e-2, penalty(net, x))])
    theta = lbfgs(loss, net.init(0), steps=200).theta
    pruned = prune(net, theta, x, inputs=1e-2)
    assert_array_equal(pruned.inputs, [1])


def test_a_batch_is_the_penalty_at_some_samples():
    net = NETS["plain"]
    theta, x = point(net), data(net)
    rows = np.array([3, 1, 8])
    objective = penalty(net, x)
    assert objective.batch(rows).value(theta) == penalty(net, x[rows]).value(theta)
    assert objective.samples == len(x)
    both = weighted_sum([(1, mse(net, x, np.zeros(len(x)))), (0.1, objective)])
    assert np.isfinite(minibatches(both, 10)(theta)[0])


@every_metric
def test_single_precision(metric):
    net = NETS["formulas"]
    theta, x = point(net), data(net)
    value, gradient = penalty(net, x, metric, coefficients=0.1, differences=0.1)(theta)
    single, slope = penalty(net, x, metric, coefficients=0.1, differences=0.1)(theta.astype(np.float32))
    assert slope.dtype == np.float32 and isinstance(single, float)
    assert_allclose(single, value, rtol=1e-5)
    assert_allclose(slope, gradient, rtol=0, atol=1e-4 * np.abs(gradient).max())


@every_metric
def test_wide_and_narrow_layers_agree_with_their_edges(metric):
    """Layers of 1, 3, 4 and 7 outputs: magnitudes measured edge by edge."""
    net = kan([3, 7, 4, 3, 1])
    theta, x = point(net), data(net, 20)
    z = net.activations(theta, x)
    for l, V in enumerate(magnitudes(net, theta, x, metric)):
        layer, own = net.layers[l], net.layers[l].terms
        for q in range(layer.sums):
            for p in range(layer.inputs):
                alone, arrays = Layer(own).select(
                    {name: net.split(theta)[f"{l}.{name}"] for name in layer.arrays}, np.array([q]), np.array([p])
                )
                phi = alone.forward(arrays, np.ascontiguousarray(z[l][:, [p]])[None])[0][0, :, 0]
                size = {
                    "paper": np.abs(phi).mean(),
                    "pykan-0.0": np.abs(phi).mean() / 2.0001,
                    "edge_forward_spline_u": phi.std(ddof=1),
                    "efficient-kan": stored(net, theta, l)[q, p],
                }.get(metric, phi.std(ddof=1) / (z[l][:, p].std(ddof=1) + 0.1))
                assert_allclose(V[q, p], size, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------ attribution


@every_net
def test_the_papers_scores_are_largest_magnitudes(net):
    """Eq. 2.21: I = max of |phi|_1 of what enters, O = max of what leaves; a node stays if both exceed the threshold."""
    theta, x = point(net), data(net)
    scores, V = attribute(net, theta, x, "paper"), magnitudes(net, theta, x)
    for E, v in zip(scores.edges, V, strict=True):
        assert_array_equal(E, v)
    assert len(scores.nodes) == len(net.widths)
    for l, layer in enumerate(net.layers):
        assert_array_equal(scores.outgoing[l], V[l].max(0))
        arity, start = layer.nodes.arity if layer.nodes else (1,) * layer.sums, 0
        for q, factors in enumerate(arity):
            assert scores.incoming[l + 1][q] == V[l][start : start + factors].max()
            start += factors
    assert np.isinf(scores.incoming[0]).all() and np.isinf(scores.outgoing[-1]).all()
    for nodes, i, o in zip(scores.nodes, scores.incoming, scores.outgoing):
        assert_array_equal(nodes > 0.3, (i > 0.3) & (o > 0.3))
        assert_array_equal(nodes, np.minimum(i, o))


@every_net
def test_backward_scores_by_output(net):
    """The mean over outputs of a recursion that starts with 1 at one of them."""
    theta, x = point(net), data(net)
    scores = attribute(net, theta, x)
    z, found = net.activations(theta, x), []
    for o in range(net.outputs):
        node, nodes, edges = np.eye(net.outputs)[o], [np.eye(net.outputs)[o]], []
        for l in reversed(range(len(net.layers))):
            phi = net.edges(theta, l, z[l])
            share = phi.std(0, ddof=1) / (phi.sum(2).std(0, ddof=1) + 1e-4)[:, None]
            layer = net.layers[l]
            edges.insert(0, share * np.repeat(node, layer.nodes.arity if layer.nodes else 1)[:, None])
            node = edges[0].sum(0)
            nodes.insert(0, node)
        found.append((nodes, edges))
    for l, nodes in enumerate(scores.nodes):
        assert_allclose(nodes, np.mean([n[l] for n, _ in found], 0), rtol=1e-10)
    for l, edges in enumerate(scores.edges):
        assert_allclose(edges, np.mean([e[l] for _, e in found], 0), rtol=1e-10)


def test_backward_scores_do_not_care_for_scale_or_constants():
    """Why "backward" is the default of pruning."""
    net = KAN((spline_layer(2, 3, BSpline.uniform(2, 3, 3), bias=True), spline_layer(3, 1, BSpline.uniform(3, 3, 3))))
    theta, x = point(net), data(net)
    other = theta.copy()
    views = net.split(other)
    views["1.base.W"][...] *= 1000
    views["1.spline.W"][...] *= 1000
    for a, b in zip(attribute(net, theta, x).nodes, attribute(net, other, x).nodes):
        assert_allclose(a, b, rtol=1e-3)  # pykan's 1e-4 beside a deviation
    before, after = (attribute(net, t, x, "paper").edges[1] for t in (theta, other))
    assert_allclose(after, 1000 * before, rtol=1e-12)
    shift = np.stack([x[:, 0], np.full(len(x), 0.3)], 1)  # a constant input
    assert attribute(net, theta, shift).nodes[0][1] < 1e-12 < 0.1 < attribute(net, theta, shift, "paper").nodes[0][1]


# ---------------------------------------------------------------------------------------------------------------- pruning


def reference(net, theta, x, nodes, edges, inputs=None, method="backward", means=True):
    """What `prune` promises to compute, in words of `masked`: nodes by their scores, edges by the scores after that."""
    lowest = [-np.inf if inputs is None else inputs, *[nodes] * (len(net.widths) - 2), -np.inf]
    stay = [np.flatnonzero(s > least) for s, least in zip(attribute(net, theta, x, method).nodes, lowest)]
    left = x if means else None
    remaining = attribute(*masked(net, theta, stay, x=left), x, method).edges
    return masked(net, theta, stay, [E > edges for E in remaining], left)


MASK = [[1, 0], [0.5, 1], [1, 1], [0, 1]]
EXACT = {
    "plain": kan([3, 6, 5, 2]),
    "scaled, bias, tanh": kan([3, 6, 5, 2], scaled=True, bias=True, normalise="tanh"),
    "products, affine": kan([3, [2, [2, 3]], [1, 2], 2], affine=AFFINE, bias=True, intervals=2),
    "products": kan([3, [2, [2, 3]], [1, 2], 2], intervals=2),
    "formulas": KAN((mixed((2, 4), nodes=Nodes((1, 1, 2)), bias=True), mixed((3, 3)), *kan([3, 1]).layers)),
    "already masked": KAN((spline_layer(2, 4, BSpline.uniform(2, 3, 3), mask=MASK), *kan([4, 2]).layers)),
    "min-max": KAN(
        (spline_layer(2, 4, BSpline.uniform(2, 3, 3), normalise=RANGES), *kan([4, 1], outside="linear").layers)
    ),
    "chebyshev": KAN((Layer({"s": Linear(Chebyshev(3), Scaled(Full((4, 2, 4))))}), *kan([4, 1]).layers)),
}


@pytest.mark.parametrize("means", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", EXACT)
def test_the_pruned_network_is_the_masked_one(name, dtype, means):
    """Up to rounding: sums are added in another order where a layer has other numbers of inputs and outputs."""
    net, sizes = EXACT[name], []
    x = data(net, 50)
    for trial in range(6):
        theta, method = point(net, trial).astype(dtype), ("backward", "paper")[trial % 2]
        scores = attribute(net, theta, x, method)
        nodes = 0.999 * min(np.max(s) if trial < 2 else np.median(s) for s in scores.nodes[1:-1])
        edges, inputs = [0, 0.05, 0.1][trial % 3], [None, 1e-9][trial % 2]
        pruned = prune(net, theta, x, method, nodes=nodes, edges=edges, inputs=inputs, means=means)
        other, other_theta = reference(net, theta, x, nodes, edges, inputs, method, means)
        y, z = pruned.net(pruned.theta, x[:, pruned.inputs]), other(other_theta, x)
        assert_allclose(y, z, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(z).max())
        assert pruned.theta.dtype == other_theta.dtype == dtype
        assert other.widths == net.widths
        sizes.append(pruned.net.size)
    assert min(sizes) < net.size


def test_an_edge_that_goes_leaves_its_mean_behind():
    """An edge that is nearly constant scores nothing, and is not zero: without its mean the network would be lost."""
    net = kan([2, 1, 1], intervals=3)
    theta, x = net.init(0), np.random.default_rng(0).uniform(-1, 1, (300, 2))
    views = net.split(theta)
    views["0.base.W"][0, 1] = 0.0
    views["0.spline.W"][0, 1] += 3.0  # phi(x_2) is 3 and a little
    pruned, lost = (prune(net, theta, x, inputs=0.3, edges=0.3, means=means) for means in (True, False))
    assert pruned.inputs.tolist() == lost.inputs.tolist() == [0]
    error = lambda p: np.sqrt(np.mean((p.net(p.theta, x[:, p.inputs]) - net(theta, x)) ** 2))
    assert error(pruned) < 0.2 * error(lost)
    bias = pruned.net.split(pruned.theta)["0.bias"]
    assert_allclose(bias, net.edges(theta, 0, x)[:, :, 1].mean(0), rtol=1e-14)


def constant_node(product):
    """[4, 2, 1] whose second node gets little from each of four inputs, so that edge pruning cuts it off; it may be a
    product with a factor that is not."""
    net = kan([4, [1, 1], 1] if product else [4, 2, 1], intervals=2)
    theta, x = net.init(0), np.random.default_rng(0).uniform(-1, 1, (200, 4))
    views = net.split(theta)
    views["0.base.W"][...] = views["0.spline.W"][...] = 0
    views["0.base.W"][0, 0] = views["0.base.W"][1] = views["0.base.W"][-1, -1] = 1
    views["1.base.W"][...] = [[[1.0], [0.3]]]
    views["1.spline.W"][...] = 0.3
    return net, theta, x


@pytest.mark.parametrize("product", [False, True])
def test_a_node_that_has_become_constant_goes_into_the_biases(product):
    net, theta, x = constant_node(product)
    score = attribute(net, theta, x).edges
    entering = score[0][1]
    least = 1.01 * entering.max()
    assert least < score[1].min()
    pruned = prune(net, theta, x, nodes=0, edges=least, means=False)
    assert pruned.net.widths == (4, 1, 1) and pruned.net.layers[1].bias and not pruned.net.layers[0].bias
    other, other_theta = reference(net, theta, x, 0, least, means=False)
    assert_allclose(pruned.net(pruned.theta, x), other(other_theta, x), rtol=1e-13)
    assert_allclose(
        pruned.net.split(pruned.theta)["1.bias"], 0.3, rtol=1e-13
    )  # phi(0): silu(0) = 0, splines sum to 0.3


def test_a_layer_that_has_biases_keeps_them_and_gets_no_others():
    net, theta, x = constant_node(False)
    old = KAN(tuple(Layer(layer.terms, bias=True) for layer in net.layers))
    arrays = net.split(theta) | {"0.bias": np.array([0.1, 0.7]), "1.bias": np.array([0.2])}
    theta = old.join(arrays)
    least = 1.01 * attribute(old, theta, x).edges[0][1].max()
    pruned = prune(old, theta, x, nodes=0, edges=least, means=False)
    other, other_theta = reference(old, theta, x, 0, least, means=False)
    assert pruned.net.widths == (4, 1, 1)
    assert_allclose(pruned.net(pruned.theta, x), other(other_theta, x), rtol=1e-13)
    assert_array_equal(pruned.net.split(pruned.theta)["0.bias"], [0.1])


def test_trivial_masks_go():
    """What remains after pruning is as fast as a network that was built so: full weights, the kernel for narrow ones."""
    net = kan([2, 5, 1])
    theta, x = point(net), data(net)
    pruned = prune(net, theta, x, edges=0, keep_nodes=[2])
    assert pruned.net.widths == (2, 2, 1)
    assert not masks_of(pruned.net)
    again = prune(pruned.net, pruned.theta, x, nodes=0, edges=0)
    assert_array_equal(again.theta, pruned.theta)
    some = prune(net, theta, x, nodes=0, keep_edges=8)
    assert masks_of(some.net)


@pytest.mark.parametrize("method", ["backward", "paper"])
def test_pruning_by_numbers_keeps_the_strongest(method):
    net = kan([3, 6, 5, 2])
    theta, x = point(net), data(net)
    scores = attribute(net, theta, x, method)
    pruned = prune(net, theta, x, method, keep_nodes=[2, 3], edges=0, keep_inputs=2)
    assert pruned.net.widths == (2, 2, 3, 2)
    for level, (kept, count) in enumerate(zip(pruned.report.nodes, (2, 2, 3, 2))):
        assert_array_equal(kept, np.sort(np.argsort(scores.nodes[level])[-count:]))
    pruned = prune(net, theta, x, method, nodes=0, keep_edges=30)
    assert 0 < sum(int(E.sum()) for E in pruned.report.edges) <= 30
    everything = prune(net, theta, x, method, keep_nodes=[6, 5], keep_edges=18 + 30 + 10, keep_inputs=3)
    assert_array_equal(everything.theta, theta)


def test_pruning_finds_the_structure_of_a_sum():
    """x0^2 + sin x2 trained on data of which x1 is not part."""
    net, x = kan([3, 4, 1], intervals=3), data(kan([3, 1]), 200)
    loss = weighted_sum([(1, mse(net, x, x[:, 0] ** 2 + np.sin(x[:, 2]))), (1e-2, penalty(net, x))])
    theta = lbfgs(loss, net.init(1), steps=300).theta
    pruned = prune(net, theta, x, inputs=1e-2)
    assert_array_equal(pruned.inputs, [0, 2])
    assert pruned.net.size < net.size / 2
    assert mse(pruned.net, x[:, pruned.inputs], net(theta, x)).value(pruned.theta) < 1e-2


def test_the_report_of_survivors():
    net, theta, x = pykan_network()
    pruned = prune(net, theta, x, nodes=0.2, edges=0.4, means=False)
    assert str(pruned.report).splitlines() == [
        "[2, 3, 2] -> [2, 1, 2], 14 -> 2 edges, 102 -> 18 parameters, by backward scores",
        "inputs    kept    1 (1.3), 0 (1.1)",
        "level 1   kept    0 (0.86)",
        "level 1   removed 1 (0.62), 2 (0.14)",
        "outputs   kept    0 (0.5), 1 (0.5)",
        "edges 0   kept    1>0 (0.78)",
        "edges 1   kept    0>1 (0.47)",
    ]
    wide = kan([20, 2], intervals=2)
    text = str(prune(wide, point(wide), data(wide), edges=0).report)
    assert ", and 8 more" in text and ", and 28 more" in text


def test_b22_the_columns_of_pruned_inputs_are_remembered():
    """Ledger B22: pykan loses them."""
    net = kan([4, 3, 1])
    theta, x = point(net), data(net)
    scores = attribute(net, theta, x).nodes[0]
    pruned = prune(net, theta, x, nodes=0, edges=0, keep_inputs=2, means=False)
    assert_array_equal(pruned.inputs, np.sort(np.argsort(scores)[-2:]))
    other, other_theta = masked(net, theta, [pruned.inputs, *map(np.arange, net.widths[1:])])
    assert_allclose(pruned.net(pruned.theta, x[:, pruned.inputs]), other(other_theta, x), rtol=1e-12, atol=1e-13)
    assert_array_equal(prune(net, theta, x).inputs, np.arange(4))


def masks_of(net):
    linear = [term for layer in net.layers for term in layer.terms.values() if isinstance(term, Linear)]
    return [term.weights for term in linear if isinstance(term.weights, Masked)]


@pytest.mark.parametrize("name", EXACT)
def test_b24_pruning_leaves_the_original_alone(name):
    """Ledger B24: pykan zeroes the original's masks."""
    net = EXACT[name]
    theta, x = point(net), data(net)
    text, kept, values = repr(net), theta.copy(), net(theta, x)
    masks = [weights.mask.copy() for weights in masks_of(net)]
    theta.flags.writeable = x.flags.writeable = False
    prune(net, theta, x, nodes=0.05, edges=0.2)
    masked(net, theta, [np.arange(1)] * len(net.widths))
    for mask, weights in zip(masks, masks_of(net), strict=True):
        assert_array_equal(weights.mask, mask)
    assert repr(net) == text
    assert_array_equal(theta, kept)
    assert_array_equal(net(theta, x), values)


def test_b24_pruning_keeps_every_setting():
    """Ledger B24: pykan's pruned models fall back to defaults."""
    splines = {"intervals": 4, "degree": 2, "domain": (-2.0, 1.5), "outside": "linear", "base": "tanh", "scaled": True}
    maps = {"inputs": MinMax(np.full(3, -2.0), np.full(3, 2.0)), "normalise": "tanh", "affine": ("node_scale",)}
    net = kan([3, [3, 2], 2], bias=True, **splines, **maps)
    theta, x = point(net), data(net)
    pruned = prune(net, theta, x, edges=0, keep_nodes=[3], keep_inputs=2, means=False)
    other, other_theta = masked(net, theta, pruned.report.nodes)
    assert_allclose(pruned.net(pruned.theta, x[:, pruned.inputs]), other(other_theta, x), rtol=1e-12, atol=1e-13)
    for old, new in zip(net.layers, pruned.net.layers):
        assert (
            list(new.terms) == list(old.terms) and new.bias == old.bias and type(new.normalise) is type(old.normalise)
        )
        assert new.nodes.trained == old.nodes.trained
        assert isinstance(new.terms["spline"].weights, Scaled)
        assert new.terms["base"].basis is old.terms["base"].basis
        a, b = old.terms["spline"].basis, new.terms["spline"].basis
        assert (a.degree, a.intervals, a.outside) == (b.degree, b.intervals, b.outside)
        assert_array_equal(b.domain, a.domain[: len(b.domain)])


def test_b25_pruning_uses_the_data_that_it_is_given():
    """Ledger B25: pykan uses whatever went through the network last."""
    net = kan([2, 5, 1])
    theta, x, other = point(net), data(net), 0.01 * data(net, seed=9)
    first = prune(net, theta, x, nodes=0.1)
    (
        net(theta, other),
        mse(net, other, np.zeros(len(other)))(theta),
        penalty(net, other)(theta),
        attribute(net, theta, other),
    )
    second = prune(net, theta, x, nodes=0.1)
    assert_array_equal(first.theta, second.theta)
    for a, b in zip(first.report.scores.nodes, second.report.scores.nodes):
        assert_array_equal(a, b)
    assert str(prune(net, theta, other, nodes=0.1).report) != str(first.report)


@pytest.mark.parametrize(
    "use", [penalty, lambda net, x: attribute(net, point(net), x), lambda net, x: prune(net, point(net), x)]
)
def test_b29_extra_columns_are_refused(use):
    """Ledger B29: pykan drops them."""
    net = kan([2, 3, 1])
    with pytest.raises(
        ValueError, match=r"x must have shape \(samples, 2\), but it has shape \(30, 3\); .* never dropped"
    ):
        use(net, np.zeros((30, 3)))


# -------------------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    "options, message",
    [
        ({"metric": "l1"}, "metric must be one of 'paper', 'pykan-0.0', 'pykan-0.2.8', .*, but it is 'l1'"),
        ({"metric": "edge_backward"}, "'edge_backward' is an attribution score and cannot be trained; .*attribute"),
        ({"metric": "node_backward"}, "'node_backward' is an attribution score"),
        ({"l1": -1}, "l1 must be a number of at least 0, but it is -1"),
        ({"l1": "1"}, "l1 must be a number of at least 0, but it is '1'"),
        ({"entropy": np.nan}, "entropy must be a number of at least 0, but it is nan"),
        ({"coefficients": -0.5}, "coefficients must be a number of at least 0"),
        ({"differences": np.inf}, "differences must be a number of at least 0, but it is inf"),
    ],
)
def test_penalties_that_make_no_sense(options, message):
    net = NETS["plain"]
    with pytest.raises(ValueError, match=message):
        penalty(net, data(net), **options)


def test_what_needs_more_than_it_gets():
    net, other = NETS["plain"], OTHERS["linear first"]
    with pytest.raises(
        ValueError, match="metric 'pykan-0.2.8' takes standard deviations over samples, but x has only one"
    ):
        penalty(net, data(net, 1), "pykan-0.2.8")
    with pytest.raises(ValueError, match="backward attribution takes standard deviations over samples"):
        attribute(net, point(net), data(net, 1))
    assert np.isfinite(penalty(net, data(net, 1)).value(point(net)))
    root, theta = fix(net, point(net), 0, 0, 0, "sqrt", affine=(1, 0, 1, 0))
    for use in (attribute, prune, magnitudes):
        with pytest.raises(ValueError, match=r"needs finite outputs, but those at x\[\d+\] are \[.*nan.*\]; it lies outside"):
            use(root, theta, data(net))
    with pytest.raises(
        ValueError, match='metric "pykan-0.0" divides by the range of the knots, but layer 0 has no B-splines'
    ):
        penalty(other, data(other), "pykan-0.0")(point(other))
    with pytest.raises(ValueError, match="method must be one of 'backward', 'paper', 'pykan-0.0', but it is 'forward'"):
        attribute(net, point(net), data(net), "forward")
    with pytest.raises(ValueError, match="metric must be one of 'paper', .* 'node_backward', but it is 'mean'"):
        magnitudes(net, point(net), data(net), "mean")


@pytest.mark.parametrize(
    "error, message, options",
    [
        (
            ValueError,
            "nodes = 100 would remove every node of level 1, whose highest score is .*; lower it",
            {"nodes": 100},
        ),
        (ValueError, "inputs = 100 would remove every input, whose highest score is", {"inputs": 100}),
        (ValueError, "edges = 100 would leave no way from the inputs to the outputs; keep more edges", {"edges": 100}),
        (ValueError, "keep_edges = 1 would leave no way from the inputs to the outputs", {"keep_edges": 1}),
        (
            ValueError,
            "nodes must be a score of at least 0, but it is -1; for a number of nodes use keep_nodes",
            {"nodes": -1},
        ),
        (ValueError, r"edges must be a score of at least 0, but it is \[3\]", {"edges": [3]}),
        (ValueError, "inputs must be a score of at least 0, but it is True", {"inputs": True}),
        (ValueError, "inputs must be a score of at least 0, but it is nan", {"inputs": np.nan}),
        (
            ValueError,
            "keep_nodes must be a list of 1 numbers, one for each hidden level, but it is 2",
            {"keep_nodes": 2},
        ),
        (ValueError, r"keep_nodes must be a list of 1 numbers, .*, but it is \[2, 2\]", {"keep_nodes": [2, 2]}),
        (ValueError, "keep_nodes must be from 1 to 3, but it is 4", {"keep_nodes": [4]}),
        (ValueError, "keep_edges must be from 1 to 9, but it is 0", {"keep_edges": 0}),
        (TypeError, "keep_inputs must be an integer, but it is 1.5", {"keep_inputs": 1.5}),
        (ValueError, "method must be one of 'backward', 'paper'", {"method": "edge_backward"}),
    ],
)
def test_pruning_that_makes_no_sense(error, message, options):
    net = NETS["plain"]
    with pytest.raises(error, match=message):
        prune(net, point(net), data(net), **options)


def test_masks_that_do_not_fit():
    net = NETS["plain"]
    with pytest.raises(ValueError, match="nodes must have a part for each of the 3 levels, but it has 2"):
        masked(net, point(net), [[0], [0]])
    with pytest.raises(ValueError, match=r"an entry of nodes\[1\] must be from 0 to 2, but it is 3"):
        masked(net, point(net), [[0], [3], [0]])
    with pytest.raises(ValueError, match="edges must have a part for each of the 2 layers, but it has 1"):
        masked(net, point(net), edges=[np.ones((3, 2))])
    with pytest.raises(
        ValueError, match=r"edges\[0\] must have shape \(sums, inputs\) = \(3, 2\), but it has shape \(2, 3\)"
    ):
        masked(net, point(net), edges=[np.ones((2, 3)), np.ones((1, 3))])
    only = OTHERS["only formulas"]
    with pytest.raises(ValueError, match="every formula of a layer would go, and it has no other terms"):
        masked(only, point(only), edges=[np.ones((2, 2)), np.zeros((1, 2))])
    foreign = KAN((Layer({"own": Foreign()}),))
    with pytest.raises(TypeError, match="terms of type Foreign cannot be pruned; there are Linear and Symbolic"):
        masked(foreign, np.zeros(0))


class Foreign:
    """A term of a kind that pruning does not know."""

    shape, arrays = (1, 1), {}


# ------------------------------------------------------------------------------------------------- what terms must offer


TERM = Linear(bases.silu, Full((2, 2, 1)))
TERMS = {
    "formulas": mixed((2, 3)).terms["symbolic"],
    "silu": Linear(bases.silu, Full((3, 2, 1))),
    "splines": Linear(BSpline.uniform(2, 3, 3), Scaled(Full((3, 2, 6)))),
}


@pytest.mark.parametrize("term", TERMS.values(), ids=TERMS)
def test_terms_offer_single_edges_and_selections(term):
    report = check.check_term(term, np.random.default_rng(0), np.random.default_rng(1).uniform(-1, 1, (9, 2)))
    assert {"edges", "edges_pullback", "selected edges"} <= set(report)


class Wrong:
    """A term with one part replaced."""

    def __init__(self, term, **change):
        self.__dict__.update({name: getattr(term, name) for name in dir(term) if not name.startswith("_")} | change)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"edges_pullback": lambda a, x, b: (TERM.edges_pullback(a, x, 1.01 * b)[0], np.zeros_like(x))},
            "'edges_pullback'",
        ),
        ({"edges_pullback": lambda a, x, b: ({}, np.zeros_like(x))}, "edges_pullback must give arrays {'W'"),
        ({"edges_pullback": lambda a, x, b: (TERM.edges_pullback(a, x, b)[0], b)}, r"x_bar must have shape \(9, 2\)"),
        ({"select": lambda a, q, p: (TERM, a)}, "'selected edges' has relative error"),
        ({"select": lambda a, q, p: (None, {})}, "'selected edges' has relative error"),
    ],
)
def test_check_term_finds_wrong_edges(change, message):
    with pytest.raises(check.CheckError, match=message):
        check.check_term(Wrong(TERM, **change), np.random.default_rng(0), np.random.default_rng(1).normal(size=(9, 2)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_selections_of_layers_and_networks(dtype):
    """Nodes in another order are the same network; a part of its nodes is a part of the layers' edges."""
    for net in EXACT.values():
        theta, x, rng = point(net).astype(dtype), data(net), np.random.default_rng(2)
        turned = [rng.permutation(width) for width in net.widths]
        other, other_theta = net.select(theta, turned)
        assert other_theta.dtype == dtype
        y, z = net(theta, x)[:, turned[-1]], other(other_theta, x[:, turned[0]])
        assert_allclose(z, y, rtol=0, atol=100 * np.finfo(dtype).eps * np.abs(y).max())
