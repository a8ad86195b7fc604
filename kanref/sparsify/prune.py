"""Pruning: a smaller network without the inputs, nodes and edges that do not matter.

    masked    what remains, by masks in the old shape
    prune     what remains, physically: fewer nodes, fewer parameters, the same values as `masked` up to rounding

A hidden node that goes takes its incoming and outgoing edges along, a product node those of all its factors. An edge that
goes leaves its mean over the samples behind, in the bias of the sum that it led to: scores by deviations do not see
constants, and an edge that is as good as constant need not be zero. (pykan leaves nothing behind: means=False.) Three
things follow, and `prune` does them:

  * a node that nothing leaves any more goes, too;
  * a node that nothing enters any more has become a constant v (its bias, its affine map; so has a product with a factor
    that is zero), and phi(v) need not be zero: it goes, and what it contributed is added to the biases of the next
    layer, which gets some if it had none;
  * masks that are left without a zero go, and so do terms that are masked everywhere beside others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from kanref import arrays as border
from kanref.edges import Symbolic
from kanref.network import KAN
from kanref.sparsify.attribution import Scores, attribute
from kanref.terms import Linear
from kanref.weights import Masked

LISTED = 12  # names in a line of a report

# --------------------------------------------------------------------------------------------------------------- masks


def masked(net, theta, nodes=None, edges=None, x=None):
    """The network without some nodes and edges, in its old shape: new network and theta.

    nodes: for every level, inputs first, the indices of the nodes that stay. edges: for every layer, (S, P) with 0 for
    edges that go. None is all of them. Edges of B-splines and other bases get a `Masked` factor, formulas are dropped.
    x: samples (N, n) over which edges that go leave their means behind as biases; None: they leave nothing.
    """
    parts = ("nodes", nodes, len(net.widths), "level"), ("edges", edges, len(net.layers), "layer")
    for name, given, count, what in parts:
        if given is not None and len(given) != count:
            raise ValueError(f"{name} must have a part for each of the {count} {what}s, but it has {len(given)}")
    if nodes is None:
        nodes = [np.arange(width) for width in net.widths]
    for level, (stay, width) in enumerate(zip(nodes, net.widths)):
        for q in stay:
            border.integer(q, f"an entry of nodes[{level}]", 0, width - 1)
    masks = _masks(net, nodes)
    if edges is not None:
        masks = [mask * _mask(E, layer, l) for l, (mask, layer, E) in enumerate(zip(masks, net.layers, edges))]
    return _with_masks(net, theta, masks, _means(net, theta, x, x is not None))


def _mask(mask, layer, l):
    mask = border.real_array(mask, f"edges[{l}]", np.float64)
    if mask.shape != (layer.sums, layer.inputs):
        raise ValueError(
            f"edges[{l}] must have shape (sums, inputs) = {(layer.sums, layer.inputs)}, but it has shape {mask.shape}"
        )
    return mask


def _masks(net, nodes):
    """Masks (S, P) of all layers that keep the edges between the nodes that stay."""
    kept = [np.isin(np.arange(width), stay) for width, stay in zip(net.widths, nodes)]
    return [np.outer(np.repeat(b, _arity(layer)), a).astype(float) for layer, a, b in zip(net.layers, kept, kept[1:])]


def _arity(layer):
    return layer.nodes.arity if layer.nodes else 1


def _means(net, theta, x, wanted):
    """Means (S, P) of all layers' edges over samples x; zeros unless they are wanted."""
    if not wanted:
        return [np.zeros((layer.sums, layer.inputs)) for layer in net.layers]
    z = net.activations(theta, border.points(x, net.inputs))
    return [net.edges(theta, l, x_l).mean(0) for l, x_l in enumerate(z[:-1])]


def _left(means, masks):
    """What the edges that go leave in every layer's sums, a list of (S,)."""
    return [(mean * (mask == 0)).sum(1) for mean, mask in zip(means, masks)]


def _with_bias(layer, arrays, constant):
    """The layer with constants (S,) added to its sums; it gets a bias for it if it has none."""
    if not constant.any():
        return layer, arrays
    return replace(layer, bias=True), {**arrays, "bias": arrays.get("bias", 0) + constant}


def _with_masks(net, theta, masks, means):
    pairs = [_mask_layer(layer, own, mask) for layer, own, mask in zip(net.layers, net.of_layers(theta), masks)]
    pairs = [_with_bias(*pair, constant) for pair, constant in zip(pairs, _left(means, masks))]
    return net.rebuilt(*zip(*pairs), np.asarray(theta).dtype)


def _mask_layer(layer, arrays, mask):
    """The layer with every edge times its mask (S, P), in all terms: layer, arrays."""
    terms, kept = {}, dict(arrays)
    for name, term in layer.terms.items():
        own = {key: kept.pop(f"{name}.{key}") for key in term.arrays}
        term, own = _mask_term(term, own, mask)
        if term is not None:
            terms[name] = term
            kept.update((f"{name}.{key}", a) for key, a in own.items())
    if not terms:
        raise ValueError("every formula of a layer would go, and it has no other terms; keep more edges")
    return replace(layer, terms=terms), kept


def _mask_term(term, arrays, mask):
    """A term times a mask, and its arrays; None and {} if it has nothing left."""
    if isinstance(term, Symbolic):
        kept = [e for e, (q, p, _) in enumerate(term.formulas) if mask[q, p]]
        if not kept:
            return None, {}
        return Symbolic(term.shape, tuple(term.formulas[e] for e in kept)), {"affine": arrays["affine"][kept]}
    if not isinstance(term, Linear):
        raise TypeError(f"terms of type {type(term).__name__} cannot be pruned; there are Linear and Symbolic")
    weights = term.weights
    if isinstance(weights, Masked):
        weights, mask = weights.inner, weights.mask * mask
    return Linear(term.basis, weights if (mask == 1).all() else Masked(weights, mask)), arrays


# ------------------------------------------------------------------------------------------------------------- pruning


@dataclass(frozen=True, eq=False)
class Report:
    """What survived, in the numbers of the network as it was; str(report) lists it, edges as "from>to" (to a sum).

    nodes: indices kept of every level, inputs first; edges: bool (S, P) of every layer; scores: of everything, before;
    remaining: of the edges after the nodes had gone, by which edges were judged.
    """

    nodes: tuple[np.ndarray, ...]
    edges: tuple[np.ndarray, ...]
    scores: Scores
    remaining: tuple[np.ndarray, ...]
    parameters: tuple[int, int]

    def __str__(self):
        before = [len(s) for s in self.scores.nodes]
        after = [len(kept) for kept in self.nodes]
        count = sum(E.size for E in self.edges), sum(int(E.sum()) for E in self.edges)
        lines = [
            f"{before} -> {after}, {count[0]} -> {count[1]} edges, "
            f"{self.parameters[0]} -> {self.parameters[1]} parameters, by {self.scores.method} scores"
        ]
        for level, (kept, scores) in enumerate(zip(self.nodes, self.scores.nodes)):
            name = "inputs" if level == 0 else "outputs" if level == len(after) - 1 else f"level {level}"
            lines += _listing(name, np.isin(np.arange(len(scores)), kept), scores, str)
        for l, (kept, scores) in enumerate(zip(self.edges, self.remaining)):
            name = lambda e, P=kept.shape[1]: f"{e % P}>{e // P}"
            judged = kept.any(0) & kept.any(1)[:, None]  # the others went with their nodes
            lines += _listing(f"edges {l}", kept.ravel(), scores.ravel(), name, (judged & ~kept).ravel())
        return "\n".join(lines)


def _listing(title, kept, scores, name, removed=None):
    """Lines with what is kept and what is removed, the strongest first."""
    lines = []
    for word, chosen in (("kept", kept), ("removed", ~kept if removed is None else removed)):
        order = sorted(np.flatnonzero(chosen), key=lambda i: -scores[i])
        more = f", and {len(order) - LISTED} more" if len(order) > LISTED else ""
        if order:
            listed = ", ".join(f"{name(i)} ({scores[i]:.2g})" for i in order[:LISTED])
            lines.append(f"{title:<9} {word:<8}{listed}{more}")
    return lines


@dataclass(frozen=True, eq=False)
class Pruned:
    """A pruned network, its theta, the report, and the columns of x that it takes: net(theta, x[:, inputs])."""

    net: KAN
    theta: np.ndarray
    report: Report
    inputs: np.ndarray


def prune(
    net,
    theta,
    x,
    method="backward",
    *,
    nodes=1e-2,
    edges=3e-2,
    inputs=None,
    keep_nodes=None,
    keep_edges=None,
    keep_inputs=None,
    means=True,
):
    """A smaller network by scores at samples x (N, n): `Pruned`. Nothing given is changed.

    method: of `attribute`. "backward", the default, judges by what reaches the outputs and does not care for the scale of
        the data or for constants; with the paper's magnitudes a threshold means something else for every data set.
    nodes, edges: hidden nodes and edges with scores above these stay. The defaults are pykan's. Edges are judged after the
        nodes have gone, by new scores.
    inputs: inputs with scores above it stay; None keeps them all. `Pruned.inputs` says which stayed.
    keep_nodes: instead of `nodes`, how many of every hidden level stay, the strongest: [5, 3].
    keep_edges: instead of `edges`, how many of all layers' edges stay at most: those that lead nowhere go, too.
    keep_inputs: instead of `inputs`, likewise.
    means: what goes leaves its mean behind; False: nothing. Either way the result computes what `masked` of the chosen edges
        does; those of nodes that had become constant are in its biases then, and no longer in the report.

    Raises ValueError if nothing would lead from the inputs to the outputs any more: then nothing is pruned, as a threshold
    that high is a mistake.
    """
    theta, x = net.vector(theta), border.points(x, net.inputs)
    for name, least in (("nodes", nodes), ("edges", edges), ("inputs", 0 if inputs is None else inputs)):
        if not isinstance(least, Real) or isinstance(least, bool) or not least >= 0:
            raise ValueError(
                f"{name} must be a score of at least 0, but it is {least!r}; for a number of {name} use keep_{name}"
            )
    hidden = len(net.widths) - 2
    if keep_nodes is not None and (not isinstance(keep_nodes, Sequence) or len(keep_nodes) != hidden):
        raise ValueError(
            f"keep_nodes must be a list of {hidden} numbers, one for each hidden level, but it is {keep_nodes!r}"
        )
    scores = attribute(net, theta, x, method)
    numbers = [keep_inputs, *(keep_nodes or [None] * hidden), None]
    lowest = [-np.inf if inputs is None else inputs, *[nodes] * hidden, -np.inf]
    stay = []
    for level, (s, least, number) in enumerate(zip(scores.nodes, lowest, numbers)):
        name, what = ("nodes", f"node of level {level}") if level else ("inputs", "input")
        stay.append(np.flatnonzero(_chosen(s, least, number, f"keep_{name}")))
        if len(stay[level]) == 0:
            raise ValueError(
                f"{name} = {least:g} would remove every {what}, whose highest score is {s.max():.2g}; lower it"
            )
    masks, means = _masks(net, stay), _means(net, theta, x, means)
    remaining = attribute(*_with_masks(net, theta, masks, means), x, method).edges
    every = np.concatenate([E.ravel() for E in remaining])
    chosen = np.split(_chosen(every, edges, keep_edges, "keep_edges"), np.cumsum([E.size for E in remaining])[:-1])
    masks = [mask * kept.reshape(mask.shape) for mask, kept in zip(masks, chosen)]
    free = inputs is not None or keep_inputs is not None
    left = _left(means, masks)
    stay, masks, constants = _settle(*_with_masks(net, theta, masks, means), x, masks, free)
    constants = [constant + more for constant, more in zip(constants, left)]
    if any(len(kept) == 0 for kept in stay) or not all(mask.any() for mask in masks):
        cut = f"edges = {edges:g}" if keep_edges is None else f"keep_edges = {keep_edges}"
        raise ValueError(f"{cut} would leave no way from the inputs to the outputs; keep more edges")
    small, small_theta = _cut(net, theta, stay, masks, constants)
    report = Report(tuple(stay), tuple(mask > 0 for mask in masks), scores, remaining, (net.size, small.size))
    return Pruned(small, small_theta, report, stay[0])


def _chosen(scores, least, number, name):
    """Which scores are above `least`, or the `number` of the highest."""
    if number is None:
        return scores > least
    number = border.integer(number, name, 1, len(scores))
    return np.isin(np.arange(len(scores)), np.argsort(-scores, kind="stable")[:number])


def _settle(net, theta, x, masks, free):
    """Which nodes of every level have a way in and out, the masks without the others, and what constant nodes add to
    every layer's sums; inputs without edges go only if `free`. The network is the masked one."""
    masks, constants, fixed = [mask.copy() for mask in masks], [], np.zeros(net.inputs, bool)
    _, tape = net.forward(theta, x[:1].astype(theta.dtype, copy=False)[None])
    for layer, mask, (arrays, z, _, u) in zip(net.layers, masks, tape):
        constants.append(layer.edges(arrays, z[0])[0][:, fixed].sum(1))
        mask[:, fixed] = 0
        still = ~mask.any(1)
        fixed = layer.nodes.constant(arrays, u[0, 0], still) if layer.nodes else still
    stay = [np.arange(net.outputs)]
    for layer, mask in zip(net.layers[::-1], masks[::-1]):
        mask[np.setdiff1d(np.arange(layer.sums), layer.sums_of(stay[0]))] = 0
        stay.insert(0, np.flatnonzero(mask.any(0)))
    return stay if free else [np.arange(net.inputs), *stay[1:]], masks, constants


def _cut(net, theta, stay, masks, constants):
    """The network on the nodes that stay, with masks where they are needed and the constants in its biases."""
    small, small_theta = net.select(theta, stay)
    layers, arrays = [], small.of_layers(small_theta)
    for l, (old, layer, mask, constant) in enumerate(zip(net.layers, small.layers, masks, constants)):
        sums = old.sums_of(stay[l + 1])
        layer, arrays[l] = _sounding(*_mask_layer(layer, arrays[l], mask[np.ix_(sums, stay[l])]))
        layer, arrays[l] = _with_bias(layer, arrays[l], constant[sums])
        layers.append(layer)
    return small.rebuilt(layers, arrays, small_theta.dtype)


def _sounding(layer, arrays):
    """The layer without the terms that are masked everywhere, as splines are when all edges have become formulas."""
    silent = lambda term: isinstance(term, Linear) and isinstance(term.weights, Masked) and not term.weights.mask.any()
    terms = {name: term for name, term in layer.terms.items() if not silent(term)}
    layer = replace(layer, terms=terms or layer.terms)
    return layer, {name: arrays[name] for name in layer.arrays}
