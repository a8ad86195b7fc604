"""Golden vectors of sparsification: magnitudes of edges, penalties with their gradients, attribution, by every convention.

Reference: the formulas on edge functions by `kanref.spec`, in 50 digits; gradients by complex steps. Confirmed in
floats by other forms of them on SciPy's piecewise polynomials: deviations from second moments, entropies from
ln sum V - sum V ln V / sum V, attribution output by output, as pykan goes.
"""

import numpy as np

from kanref import spec
from kanref.golden import second
from kanref.golden.derivatives import STEPPED, agree, exact_gradient
from kanref.golden.exact import MP, Draw, converted, digits
from kanref.golden.networks import defined, effective, layer, samples
from kanref.golden.record import case

METRICS = "paper", "pykan-0.0", "edge_forward_spline_n", "edge_forward_sum", "edge_forward_spline_u", "efficient-kan"
BY_FUNCTIONS = "paper", "pykan-0.0", "efficient-kan"  # whose coefficient penalties take means over functions
NATURAL = "paper", "efficient-kan"  # whose entropies are natural ones of V / sum V
SCORES = "edge_backward", "node_backward"
METHODS = "backward", "paper", "pykan-0.0"
HALF = MP.mpf(1) / 2


# ------------------------------------------------------------------------------------------------------- by definition


def edges(layer, x, numeric=False):
    """phi (N, Q, P) of one layer at its inputs x (N, P)."""
    made = defined([layer], numeric)[0]
    shape, rows = made.terms[0][1].shape[:2], []
    for sample in x:
        phi = np.full(shape, MP.mpf(0), object)
        for basis, W in made.terms:
            b = [[series[0] for series in basis(p, [u])] for p, u in enumerate(sample)]
            phi = phi + np.array(
                [[sum(w * v for w, v in zip(W[q, p], b[p])) for p in range(shape[1])] for q in range(shape[0])]
            )
        for q, p, f, (a, b, c, d) in made.formulas:
            phi[q, p] = phi[q, p] + c * f([a * sample[p] + b])[0] + d
        rows.append(phi)
    return np.array(rows, object)


def through(network, x):
    """The inputs (N, P) of every layer."""
    seen = []
    for own in network:
        seen.append(x)
        made = defined([own])
        x = np.array([spec.network(made, list(sample))[:, 0] for sample in x], object)
    return seen


def modulus(a):
    """|a|, the sign that of the real part."""
    return np.array([v if v.real >= 0 else -v for v in a.ravel()], object).reshape(a.shape)


def deviation(a):
    """Over the first axis, with N - 1."""
    centred = a - a.sum(0) / len(a)
    return ((centred**2).sum(0) / (len(a) - 1)) ** HALF


def magnitude(metric, own, x):
    """V (Q, P) of a layer's edges at its inputs."""
    if metric == "efficient-kan":
        W = effective(own) * (own["mask"][:, :, None] if "mask" in own else 1)
        return modulus(W).sum(2) / W.shape[2]
    phi = edges(own, x, numeric=metric == "edge_forward_spline_n")
    if metric == "paper":
        return modulus(phi).sum(0) / len(x)
    if metric == "pykan-0.0":
        t, d = own["knots"], own["degree"]
        return modulus(phi).sum(0) / len(x) / (t[:, -d - 1] - t[:, d] + MP.mpf(10) ** -4)
    return deviation(phi) / (1 if metric == "edge_forward_spline_u" else deviation(x) + MP.mpf(1) / 10)


def log(a, base=None):
    return np.array([MP.log(v) for v in a.ravel()], object).reshape(a.shape) / (MP.log(base) if base else 1)


def entropy(metric, V):
    """S of one layer."""
    small = MP.mpf(10) ** -4
    if metric in NATURAL:
        p = V / V.sum()
        return -(p * log(p)).sum()
    if metric == "pykan-0.0":
        p = V / V.sum()
        return -(p * log(p + small, 2)).sum()
    rows, columns = V / (V.sum(1, keepdims=True) + 1), V / (V.sum(0, keepdims=True) + 1)
    one = lambda p: -(p * log(p + small, 2)).sum()
    return one(rows) / len(V) + one(columns) / V.shape[1]


def coefficients(metric, own, difference):
    """sum mean |c| or sum mean |c_{i+1} - c_i|."""
    W = effective(own) * (own["scale"][:, :, None] if "scale" in own else 1)
    W = W * (own["mask"][:, :, None] if "mask" in own else 1)
    W = modulus(W[..., 1:] - W[..., :-1] if difference else W)
    return W.sum() / W.shape[2 if metric in BY_FUNCTIONS else 0]


def penalty(network, x, metric, weights):
    """The penalty by definition."""
    total = 0
    for own, seen in zip(network, through(network, x)):
        V = magnitude(metric, own, seen)
        parts = V.sum(), entropy(metric, V), coefficients(metric, own, False), coefficients(metric, own, True)
        total = total + sum(w * part for w, part in zip(weights, parts))
    return total


def attribution(network, x, method):
    """nodes.level and edges.layer by definition, without products."""
    seen = through(network, x)
    phi = [edges(own, u) for own, u in zip(network, seen)]
    if method != "backward":
        E = [magnitude(method, own, u) for own, u in zip(network, seen)]
        least = lambda a, b: np.array([min(u, v) for u, v in zip(a, b)], object)
        levels = [E[0].max(0), *(least(a.max(1), b.max(0)) for a, b in zip(E, E[1:])), E[-1].max(1)]
    else:
        levels, E = [np.full(phi[-1].shape[1], MP.mpf(1) / phi[-1].shape[1], object)], []
        for own, p in reversed(list(zip(network, phi))):
            node = np.repeat(levels[0], own["arity"]) if "arity" in own else levels[0]
            E.insert(0, deviation(p) * (node / (deviation(p.sum(2)) + MP.mpf(10) ** -4))[:, None])
            levels.insert(0, E[0].sum(0))
    return {**{f"nodes.{l}": a for l, a in enumerate(levels)}, **{f"edges.{l}": a for l, a in enumerate(E)}}


def shares(network, x):
    """node_backward: for every level but the inputs, how much of each node's score (row) falls to each input (column)."""
    phi = [edges(own, u) for own, u in zip(network, through(network, x))]
    scores, found = attribution(network, x, "backward"), {}
    for top in range(1, len(network) + 1):
        share = np.diag(scores[f"nodes.{top}"])
        for own, p in reversed(list(zip(network[:top], phi))):
            share = np.repeat(share, own["arity"], axis=1) if "arity" in own else share
            share = share / (deviation(p.sum(2)) + MP.mpf(10) ** -4) @ deviation(p)
        found[f"{top - 1}"] = share
    return found


def measured(network, x, metric):
    """Magnitudes of every layer by any metric."""
    if metric == "node_backward":
        return shares(network, x)
    if metric == "edge_backward":
        scores = attribution(network, x, "backward")
        return {f"{l}": scores[f"edges.{l}"] for l in range(len(network))}
    return {f"{l}": magnitude(metric, own, seen) for l, (own, seen) in enumerate(zip(network, through(network, x)))}


# ----------------------------------------------------------------------------------------------------- in other forms


def _inputs(network, x):
    seen = []
    for own in network:
        seen.append(x)
        x = second.values([own], x)
    return seen


def _deviation(a):
    N = len(a)
    return np.sqrt(((a * a).mean(0) - a.mean(0) ** 2) * (N / (N - 1)))


def _modulus(a):
    return a * np.sign(a.real)


def _magnitude(metric, own, x):
    if metric == "efficient-kan":
        W = second.weights({key: a for key, a in own.items() if key != "scale"})
        return np.einsum("qpk->qp", _modulus(W)) / W.shape[2]
    phi = second.edges(own, np.stack([x, 0 * x, 0 * x]), metric == "edge_forward_spline_n")[0]
    if metric in ("paper", "pykan-0.0"):
        V = np.einsum("nqp->qp", _modulus(phi)) / len(x)
        return (
            V
            if metric == "paper"
            else V / (np.ptp(own["knots"][:, own["degree"] : -own["degree"] or None], axis=1) + 1e-4)
        )
    return _deviation(phi) / (1 if metric == "edge_forward_spline_u" else _deviation(x) + 0.1)


def _entropy(metric, V):
    if metric in NATURAL:
        return np.log(V.sum()) - (V * np.log(V)).sum() / V.sum()
    if metric == "pykan-0.0":
        return (V * np.log(V.sum() / (V + 1e-4 * V.sum()))).sum() / V.sum() / np.log(2)
    one = lambda p: -np.einsum("qp,qp->", p, np.log(p + 1e-4)) / np.log(2)
    return one(V / (1 + V.sum(1)[:, None])) / V.shape[0] + one(V / (1 + V.sum(0))) / V.shape[1]


def _penalty(network, x, metric, weights):
    total = 0
    for own, seen in zip(network, _inputs(network, x)):
        V, W = _magnitude(metric, own, seen), second.weights(own)
        over = 2 if metric in BY_FUNCTIONS else 0
        jump = np.diff(W, axis=2)
        parts = V.sum(), _entropy(metric, V), _modulus(W).mean(over).sum(), _modulus(jump).mean(over).sum()
        total = total + sum(w * part for w, part in zip(weights, parts))
    return total


def _attribution(network, x, method):
    phi = _edges(network, x)
    if method != "backward":
        E = [_magnitude(method, own, u) for own, u in zip(network, _inputs(network, x))]
        into, out = [[np.inf], *(e.max(1) for e in E)], [*(e.max(0) for e in E), [np.inf]]
        levels = [np.minimum(a, b) for a, b in zip(into, out)]
    else:
        m, levels, E = phi[-1].shape[1], [], []
        node = np.eye(m)  # one row for every output, the mean at the end
        levels.append(node.mean(0))
        for own, p in reversed(list(zip(network, phi))):
            node = node @ np.repeat(np.eye(node.shape[1]), own["arity"], axis=1) if "arity" in own else node
            edge = np.einsum("qp,kq,q->kqp", np.std(p, 0, ddof=1), node, 1 / (np.std(p.sum(2), 0, ddof=1) + 1e-4))
            node = edge.sum(1)
            E.insert(0, edge.mean(0))
            levels.insert(0, node.mean(0))
    return {**{f"nodes.{l}": a for l, a in enumerate(levels)}, **{f"edges.{l}": a for l, a in enumerate(E)}}


def _edges(network, x):
    return [second.edges(own, np.stack([u, 0 * u, 0 * u]))[0] for own, u in zip(network, _inputs(network, x))]


def _shares(network, x):
    """Node by node, as pykan goes: the edges below one node, the network above cut off."""
    phi, scores, found = _edges(network, x), _attribution(network, x, "backward"), {}
    for top in range(1, len(network) + 1):
        rows = []
        for j, score in enumerate(scores[f"nodes.{top}"]):
            node = np.zeros(len(scores[f"nodes.{top}"]))
            node[j] = score
            for own, p in reversed(list(zip(network[:top], phi))):
                node = np.repeat(node, own.get("arity", 1))
                shared = [n / (_deviation(e.sum(1)) + 1e-4) for n, e in zip(node, p.swapaxes(0, 1))]
                node = sum(s * _deviation(e) for s, e in zip(shared, p.swapaxes(0, 1)))
            rows.append(node)
        found[f"{top - 1}"] = np.array(rows)
    return found


def _measured(network, x, metric):
    if metric == "node_backward":
        return _shares(network, x)
    if metric == "edge_backward":
        scores = _attribution(network, x, "backward")
        return {f"{l}": scores[f"edges.{l}"] for l in range(len(network))}
    return {f"{l}": _magnitude(metric, own, seen) for l, (own, seen) in enumerate(zip(network, _inputs(network, x)))}


# --------------------------------------------------------------------------------------------------------------- cases


def products():
    """Networks with product nodes, and samples."""
    for name, arity in (("product", (1, 2)), ("products-of-2-and-3", (1, 2, 3))):
        draw = Draw("attribution", name)
        network = [layer(draw, None, 2, arity=arity, degree=2), layer(draw, 2, len(arity), degree=2)]
        yield name, network, samples(draw, 2, 6)


def examples(count=6):
    """Networks whose edges differ in size, with samples."""
    kinds = {
        "2-3-1": ([2, 3, 1], {}),
        "2-2-2-scaled": ([2, 2, 2], {"scaled": True, "degree": 2}),
        "2-2-1-formulas": ([2, 2, 1], {"formulas": [[0, 1, "sin"]], "degree": 2}),
    }
    for name, (widths, options) in kinds.items():
        draw = Draw("scores", name)
        network = [layer(draw, Q, P, **options) for P, Q in zip(widths, widths[1:])]
        yield name, network, samples(draw, widths[0], count)


SECOND = "other forms of the formulas on PPoly in float64 (1e-11)"


def magnitudes():
    """Every metric on every example, and scores through product nodes."""
    pairs = [(own, metric) for own in examples() for metric in (*METRICS, *SCORES)]
    pairs += [(own, metric) for own in products() for metric in SCORES]
    for (name, network, x), metric in pairs:
        V = measured(*converted((network, x), digits), metric)
        agree(f"{name} {metric}", V, _measured(*converted((network, x), float), metric), 1e-11)
        inputs = {"network": network, "x": x, "metric": metric}
        routes = "the formula on kanref.spec in 50 digits", SECOND
        call = f"kanref.golden.scores.measured(network, x, {metric!r})"
        yield case("magnitudes", f"{metric}-{name}", "magnitudes", inputs, V, call=call, ulps=128, routes=routes)


def penalties():
    """Every metric with weights 1, 2 on size and entropy, or on coefficients; and its gradient."""
    few = *METRICS[:3], "efficient-kan"
    asked = {"2-3-1": METRICS, "2-2-2-scaled": few, "2-2-1-formulas": (*few, "edge_forward_sum")}  # which counts formulas
    for name, network, x in examples(4):
        exact, at = converted((network, x), digits)
        floating, u = converted((network, x), float)
        for metric in asked[name]:
            of_coefficients = metric in METRICS[name == "2-2-1-formulas" : 3]
            kinds = {"size": (1, 2, 0, 0)} | ({"coefficients": (0, 0, 1, 2)} if of_coefficients else {})
            for label, weights in kinds.items():
                f = lambda n, m=metric, w=weights, at=at: penalty(n, at, m, w)
                g = lambda n, m=metric, w=weights, u=u: _penalty(n, u, m, w)
                expected = {"value": np.array(f(exact)), **exact_gradient(f, exact)}
                agree(
                    f"{name} {metric} {label}", expected, {"value": g(floating), **second.gradient(g, floating)}, 1e-11
                )
                names = "l1", "entropy", "coefficients", "differences"
                inputs = {"network": network, "x": x, "metric": metric, **dict(zip(names, weights))}
                call = f"Im kanref.golden.scores.penalty(network at theta + i h e_k, x, {metric!r}, {weights}) / h"
                routes = f"the formula on kanref.spec, {STEPPED}", SECOND
                yield case(
                    "penalties",
                    f"{metric}-{label}-{name}",
                    "penalty",
                    inputs,
                    expected,
                    call=call,
                    ulps=512,
                    routes=routes,
                )


def attributions():
    """All methods; products by the backward one."""
    found = [(*own, method) for own in examples() for method in METHODS]
    found += [(*own, "backward") for own in products()]
    for name, network, x, method in found:
        expected = attribution(*converted((network, x), digits), method)
        agree(f"{name} {method}", expected, _attribution(*converted((network, x), float), method), 1e-11)
        inputs = {"network": network, "x": x, "method": method}
        routes, call = (
            ("the formula on kanref.spec in 50 digits", SECOND),
            f"kanref.golden.scores.attribution(network, x, {method!r})",
        )
        yield case(
            "attribution", f"{method}-{name}", "attribution", inputs, expected, call=call, ulps=128, routes=routes
        )


GROUPS = {"magnitudes": magnitudes, "penalties": penalties, "attribution": attributions}
