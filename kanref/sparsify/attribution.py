"""Attribution: how much each node, edge and input matters for the outputs.

"paper" (Liu et al., eq. 2.21): an edge's score is its magnitude |phi|_1 = mean |phi|; a node has an incoming score, the
    largest of the edges that enter it, and an outgoing one, the largest of those that leave it, and matters if both do: its
    score is the smaller. Inputs have only the latter, outputs only the former. A product node is entered by the edges of
    all its factors. "pykan-0.0" is the same with magnitudes divided by the range of the knots, its metric.

"backward" (KAN 2.0; pykan 0.2.8): scores start as 1 at each output in turn, go unchanged from a product node to each of
    its factors, and from a sum to its edges in proportion to their standard deviations,

        edge[s, p] = node[s] std(phi_{s,p}) / (std(sum_p phi_{s,p}) + 1e-4),      node[p] = sum_s edge[s, p];

    the mean over the outputs is taken. Deviations are over samples with N - 1. Scores need not sum to one. They ignore what
    is constant, and the scale of the data; the paper's do neither.

Edges are all terms of a layer together, formulas included.
"""

from dataclasses import dataclass

import numpy as np

from kanref import arrays as border
from kanref.sparsify.metrics import METRICS, SMALL, coefficients, deviation

METHODS = ("backward", "paper", "pykan-0.0")
SCORES = ("edge_backward", "node_backward")


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores by a method: `nodes`, a vector for every level, inputs first; `edges`, (S, P) for every layer, S its sums.

    incoming, outgoing: for every level, the largest score of the edges that enter and that leave each node; infinite for
    inputs, which none enters, and for outputs, which none leaves.
    """

    method: str
    nodes: tuple[np.ndarray, ...]
    edges: tuple[np.ndarray, ...]
    incoming: tuple[np.ndarray, ...]
    outgoing: tuple[np.ndarray, ...]


def attribute(net, theta, x, method="backward"):
    """`Scores` of a network's inputs, nodes and edges at samples x (N, n), by one of the methods above."""
    border.choice(method, "method", METHODS)
    if method == "backward":
        nodes, edges = _backward(*_deviations(net, theta, x))
    else:
        edges = magnitudes(net, theta, x, method)
    entered = [np.maximum.reduceat(E.max(1), _starts(layer)) for E, layer in zip(edges, net.layers)]
    left, none = [E.max(0) for E in edges], np.full(1, np.inf)
    incoming = (np.repeat(none, net.inputs), *entered)
    outgoing = (*left, np.repeat(none, net.outputs))
    if method != "backward":
        nodes = [np.minimum(i, o) for i, o in zip(incoming, outgoing)]
    return Scores(method, tuple(nodes), tuple(edges), incoming, outgoing)


def magnitudes(net, theta, x, metric="paper"):
    """V (S, P) of every layer at samples x (N, n) by a metric of `kanref.sparsify.metrics`, or one of pykan's two scores.

    "edge_backward": `attribute(...).edges`. "node_backward": for every level but the inputs, how much of each node's
    backward score falls to each input, (Q, n).
    """
    border.choice(metric, "metric", (*METRICS, *SCORES))
    if metric in SCORES:
        measurements = _deviations(net, theta, x)
        nodes, edges = _backward(*measurements)
        return edges if metric == "edge_backward" else _shares(nodes, *measurements)
    kind = METRICS[metric]
    tape, V = _tape(net, theta, x, kind.deviates, f"metric {metric!r}"), []
    for l, (layer, (arrays, z, seen, _)) in enumerate(zip(net.layers, tape)):
        phi = kind.part(layer).edges(arrays, z[0]) if kind.part(layer) else np.zeros((len(x), layer.sums, layer.inputs))
        phi = coefficients(layer, arrays) if kind.stored else phi
        V.append(kind.magnitude(phi, seen[0], kind.span(layer, l))[0])
    return V


def samples(x, n, deviates, what):
    """Checked samples x (N, n); at least two for what `deviates`."""
    x = border.points(x, n)
    if deviates and len(x) < 2:
        raise ValueError(f"{what} takes standard deviations over samples, but x has only one; give more samples")
    return x


def _tape(net, theta, x, deviates, what):
    theta, x = net.vector(theta), samples(x, net.inputs, deviates, what)
    y, tape = net.forward(theta, x.astype(theta.dtype, copy=False)[None])
    if not np.isfinite(y).all():
        n = int(np.argmin(np.isfinite(y[0]).all(1)))
        raise ValueError(
            f"{what} needs finite outputs, but those at x[{n}] are {y[0, n]}; it lies outside the domain of a formula, or "
            "numbers overflow: leave such samples away"
        )
    return tape


def _deviations(net, theta, x):
    """Of every layer: E (S, P) of the edges, those of the sums (S,) with pykan's 1e-4, and the arity of its nodes."""
    tape = _tape(net, theta, x, True, "backward attribution")
    E = [deviation(layer.edges(arrays, z[0]))[0] for layer, (arrays, z, _, _) in zip(net.layers, tape)]
    return E, [deviation(u[0])[0] + SMALL for _, _, _, u in tape], [_arity(layer) for layer in net.layers]


def _backward(E, total, arity):
    """Scores of nodes and edges, the mean over outputs that each start as 1; linear, so the mean may come first."""
    nodes, edges = [np.full(len(arity[-1]), 1 / len(arity[-1]), E[-1].dtype)], []
    for l in reversed(range(len(E))):
        edges.insert(0, E[l] * (np.repeat(nodes[0], arity[l]) / total[l])[:, None])
        nodes.insert(0, edges[0].sum(0))
    return nodes, edges


def _shares(nodes, E, total, arity):
    """For every level but the inputs, the score of each node (row) that falls to each input (column)."""
    parts = []
    for top in range(len(E)):
        share = np.diag(nodes[top + 1])
        for l in reversed(range(top + 1)):
            share = np.repeat(share, arity[l], axis=1) / total[l] @ E[l]
        parts.append(share)
    return parts


def _arity(layer):
    return layer.nodes.arity if layer.nodes else (1,) * layer.sums


def _starts(layer):
    """Index of the first sum of every node."""
    return np.cumsum((0, *_arity(layer)[:-1]))
