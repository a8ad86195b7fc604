"""Why two sides may part. Hypotheses are computed: a sentence is said only if what it says turns one side into the other.

A hypothesis is A's layer in another form: understood by another convention (`kanref.golden.explain`), or with some of B's parts.
The smallest set of parts that explains is named, each with what is known about it.
"""

from itertools import combinations
from types import SimpleNamespace

import numpy as np

from kanref.compare.parting import far
from kanref.compare.sides import Foreign, Refused, folded, without
from kanref.golden import explain
from kanref.golden.adapters import kanref as known
from kanref.grids.rules import RULES, knots_from_samples
from kanref.network import describe
from kanref.nodes import AFFINE

AFTER = "bias", "arity", *AFFINE
GROUPS = {  # parts of a layer in the protocol's form; the first of each sort that are enough are named
    "outside": ("outside",),
    "knots": ("knots",),
    "coefficients": ("spline",),
    "splines": ("degree", "knots", "outside", "spline"),
    "base function": ("base_function",),
    "base weights": ("base",),
    "base": ("base", "base_function"),
    "formulas": ("formulas", "affine"),
    **{name: (name,) for name in AFTER},
}
FEW = 3  # entries that are listed one by one


def why(A, B, place, samples):
    """Sentences about a `Place`; samples: inputs of the layer that came from the user's data, or None."""
    if place.kind == "input map":
        maps = [side.net.layers[place.layer].normalise for side in (A, B)]
        maps = ["not at all" if own is None else f"by {describe(own)}" for own in maps]
        how = f"{maps[0]} in A, {maps[1]} in B" if maps[0] != maps[1] else "onto [-1, 1] from other ranges"
        return [f"the inputs are mapped otherwise: {how}"]
    own, found = A.written(place.layer), []
    if place.kind == "layer":  # no part of it could be compared by itself
        own = B.network[place.layer] if isinstance(B, Foreign) else None
    if own is not None:
        ways = [lambda: conventions(own, B, place)]
        if isinstance(B, Foreign):
            ways += [lambda: recursions(own, place)] * (place.kind == "edge")
        else:
            ways.insert(place.kind == "edge", lambda: parts(own, B.written(place.layer), place, samples))
        found = next(filter(None, (way() for way in ways)), [])
    if not found and not isinstance(B, Foreign):
        found = arrays(A, B, place)
    return (found or factors(place)) + whereabouts(own, place)


# ---------------------------------------------------------------------------------------------- understood otherwise


def conventions(own, B, place):
    """The first convention by which A's layer becomes B's, or, between models, B's becomes A's."""
    for sentence, found in variants(own, B, place):
        if place.fits(found, place.b):
            return [f"B is A with {sentence}"]
    other = None if isinstance(B, Foreign) else B.written(place.layer)
    if other is not None:
        for sentence, found in variants(other, B, place, turned=True):
            if place.fits(found, place.a):
                return [f"A is B with {sentence}"]
    return []


def variants(layer, B, place, turned=False):
    """Pairs of a sentence and what the layer would give, taken otherwise."""
    foreign = isinstance(B, Foreign)
    for sentence, changed in changes(layer, place, foreign, turned):
        try:
            if foreign:
                adapter = SimpleNamespace(forward=lambda network, x, change=changed: known.forward(list(map(change, network)), x))
                side = Foreign(adapter, [layer], B.dtype)
                if place.kind != "edge" or together(side, B, place):
                    yield sentence, getattr(side, place.stage)(0, place.z)
            else:
                yield sentence, value(changed(layer), place)
        except Exception:  # a convention that makes no sense for this layer
            continue


def together(side, B, place):
    """Whether all edges together also give what B's give: one by one, those that are mistaken for others look like none."""
    try:
        sums = B.sums(place.layer, place.z)
    except Refused:
        return True
    return bool((far(side.sums(0, place.z), sums) <= place.allowed[:, :, 0]).all())


def changes(layer, place, foreign, turned):
    """Pairs of a sentence and a function that changes a layer."""
    if place.kind == "edge" and (edges := switched_off(place, turned)):
        yield f"{listed(edges, 'edge')} switched off", lambda own: {**own, "mask": mask_without(own, edges)}
    for sentence, _ in explain.networks([layer]):
        if foreign or not sentence.startswith("outside="):  # between models the parts tell more
            yield sentence, lambda own, sentence=sentence: dict(explain.networks([own])).get(sentence, [own])[0]
    named = {"spline": "spline weights", "base": "base weights", "scale": "scales"}
    there = [name for name in named if name in layer]
    for names in dict.fromkeys((*((name,) for name in there), tuple(there))):
        words = " and ".join(named[name] for name in names)
        yield f"{words} as (input, output)", lambda own, names=names: {**own, **{n: exchanged(own[n]) for n in names}}
    yield "parameters rounded to single precision", lambda own: single(own, "knots")
    yield "parameters and knots rounded to single precision", single
    yield "scales and mask left out", lambda own: without(own, "scale", "mask")
    if "base" in layer:
        yield "base weights multiplied by the spline's scale", lambda own: {**own, "base": own["base"] * own["scale"]}


def single(layer, *kept):
    """A layer with all arrays but those kept rounded to single precision."""
    rounded = lambda name, a: isinstance(a, np.ndarray) and name not in kept
    return {name: a.astype(np.float32).astype(a.dtype) if rounded(name, a) else a for name, a in layer.items()}


def exchanged(a):
    """Numbers stored as (input, output, ...) and read as (output, input, ...)."""
    return np.ascontiguousarray(a.swapaxes(0, 1)).reshape(a.shape)


def switched_off(place, turned):
    """Edges that are zero on one side alone."""
    a, b = (place.b, place.a) if turned else (place.a, place.b)
    return [tuple(map(int, edge)) for edge in np.argwhere(~b.any(0) & a.any(0) & place.beyond.any(0))]


def mask_without(layer, edges):
    weights = layer["spline" if "spline" in layer else "base"]
    mask = np.array(layer.get("mask", np.ones(weights.shape[:2], weights.dtype)))
    mask[tuple(zip(*edges))] = 0
    return mask


def value(layer, place):
    """What kanref makes of a layer in the protocol's form, at the place's stage."""
    net, theta = known.built([layer if place.stage == "nodes" else without(layer, "arity", *AFFINE)])
    z = np.ascontiguousarray(place.z, theta.dtype)
    return net.edges(theta, 0, z) if place.stage == "edges" else net(theta, z)


def recursions(own, place):
    """The way of computing B-splines by which the edge would be B's."""
    parting, own = place.parting(), folded(own)
    q, p = parting.output, parting.input
    if "spline" not in own:
        return []
    inputs = {"x": np.asarray(place.z[:, p], float), "knots": np.asarray(own["knots"][p], float)}
    inputs |= {"degree": own["degree"], "order": 0, "outside": own["outside"]}
    case = SimpleNamespace(operation="bspline", arguments=lambda: dict(inputs))
    dense = known.bspline(**inputs)
    rest = place.a[:, q, p] - dense @ own["spline"][q, p]
    allowed, b = place.allowed[:, q, p], place.b[:, q, p]
    for sentence, answer in explain.conventions(case, {"result": dense}):
        B = answer["result"]
        if B.shape == dense.shape and (far(B @ own["spline"][q, p] + rest, b) <= allowed).all():
            return [f"on that edge, B fits {sentence.replace('axis 1', 'the functions')}"]
    return []


# ------------------------------------------------------------------------------------------------------ B's parts in A


def parts(own, other, place, samples):
    """The smallest set of B's parts that make A's layer B's, in words."""
    if other is None:
        return []
    own, other = folded(own), folded(other)
    differ = [name for name in GROUPS if (name in AFTER) == (place.kind != "edge") and differs(name, own, other)]
    for count in range(1, len(differ) + 1):
        for names in combinations(differ, count):
            keys = [key for name in names for key in GROUPS[name]]
            if len(set(keys)) < len(keys):
                continue
            taken = {key: other[key] for key in keys if key in other}
            try:
                found = value({**without(own, *keys), **taken}, place)
            except Exception:  # parts that do not fit together
                continue
            if place.fits(found, place.b):
                return [sentence for name in names for sentence in told(name, own, other, place, samples)]
    return []


def differs(name, own, other):
    """Whether a group of parts does; splines and base as a whole where their parts cannot be taken one by one, and only there."""
    whole = {key: group for group in ("splines", "base") for key in GROUPS[group]}.get(GROUPS[name][0])
    pairs = [(own.get(key), other.get(key)) for key in GROUPS[whole or name]]
    apart = any(np.shape(a) != np.shape(b) or (a is None) != (b is None) for a, b in pairs)
    fits = whole is None or apart == (name == whole)
    return fits and not all(same(own.get(key), other.get(key)) for key in GROUPS[name])


def same(a, b):
    return np.array_equal(a, b) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else type(a) is type(b) and a == b


def told(name, own, other, place, samples):
    """Sentences about a group of parts."""
    if name == "outside":
        return [f"outside the domain of the splines A does {own['outside']!r}, B {other['outside']!r}"]
    if name == "knots":
        return about_knots(own, other, samples)
    if name == "splines":
        count = lambda layer: layer["knots"].shape[1] - 2 * layer["degree"] - 1
        more = lambda layer: f", outside: {layer['outside']}" * (own.get("outside") != other.get("outside"))
        kind = lambda layer: f"of degree {layer['degree']} on {count(layer)} intervals{more(layer)}"
        A, B = (kind(layer) if "spline" in layer else "none" for layer in (own, other))
        return [f"the splines differ: {A} in A, {B} in B"]
    if name in ("base function", "base"):
        function = lambda layer: layer.get("base_function", "none")
        return [f"the base function is {function(own)} in A, {function(other)} in B"]
    if name == "formulas":
        return about_formulas(own, other)
    if name == "arity":
        return [f"the nodes multiply {own.get('arity', 'nothing')} sums in A, {other.get('arity', 'nothing')} in B"]
    key = GROUPS[name][0]
    a, b = own.get(key), other.get(key)
    idle = np.full_like(b if a is None else a, float(key.endswith("scale")))  # what is not there does nothing
    return [about_numbers(name, idle if a is None else a, idle if b is None else b)]


def about_numbers(name, a, b):
    """What turns one array of a layer into another: a factor, one for each edge, or which entries differ."""
    size = np.abs(a).max(initial=0)
    near = lambda x, y: np.abs(x - y).max(initial=0) <= 64 * np.finfo(np.result_type(a, b)).eps * size
    changed = [tuple(map(int, at)) for at in np.argwhere(a != b)]
    axes = {"coefficients": "output, input, function", "base weights": "output, input"}.get(name, "output")
    where = f"{name} ({axes})"
    if len(changed) <= FEW:
        return f"{where}: " + ", ".join(f"{list(at)} is {both(a[at], b[at])}" for at in changed)
    if (c := explain.common_factor(b, a)) is not None and near(c * a, b):
        return f"{where}: B's are {explain.NAMES.get(round(c, 9), f'{c:.6g} times')} A's"
    if a.ndim == 3:
        c = (a * b).sum(-1) / np.where((own := (a * a).sum(-1)) == 0, 1, own)
        if near(c[..., None] * a, b):
            edges = [tuple(map(int, edge)) for edge in np.argwhere((a != b).any(-1))]
            if len(edges) <= FEW:
                return f"{where}: " + ", ".join(f"on edge {list(edge)} B's are {c[edge]:.6g} times A's" for edge in edges)
            least, most = min(c[edge] for edge in edges), max(c[edge] for edge in edges)
            return f"{where}: on {len(edges)} edges B's are A's times a factor of the edge, from {least:.6g} to {most:.6g}"
    moved = np.abs(np.asarray(a, float) - b)
    worst = [int(i) for i in np.unravel_index(moved.argmax(), a.shape)]
    return f"{where}: {len(changed)} of {a.size} differ, by {moved.max():.3g} at most, at {worst}"


def both(a, b):
    """Two numbers that differ, with digits enough to see it."""
    digits = 17 if format(a, ".9g") == format(b, ".9g") else 9
    return f"{a + 0.0:.{digits}g} in A, {b + 0.0:.{digits}g} in B"


def about_formulas(own, other):
    rows = lambda layer: {(q, p): (f, row) for (q, p, f), row in zip(layer.get("formulas", ()), layer.get("affine", ()))}
    a, b = rows(own), rows(other)
    found = []
    for edge in sorted({*a, *b}):
        (f, row), (g, line) = a.get(edge, ("none", ())), b.get(edge, ("none", ()))
        if f != g:
            found.append(f"on edge {list(edge)} (output, input) A has {f}, B {g}")
        elif not np.array_equal(row, line):
            numbers = "; ".join(f"{n} {both(u, v)}" for n, u, v in zip("abcd", row, line) if u != v)
            found.append(f"on edge {list(edge)} (output, input) {f} has other constants: {numbers}")
    return found[:FEW] + [f"and so on {len(found) - FEW} more edges"] * (len(found) > FEW)


# --------------------------------------------------------------------------------------------------------------- knots


def about_knots(own, other, samples):
    """How the knots of both came about, if that is known, and how they differ."""
    a, b, degree = own["knots"], other["knots"], own["degree"]
    rows, inner = [int(p) for p in np.flatnonzero((a != b).any(1))], slice(degree, a.shape[1] - degree)
    text = f"the knots differ, of {listed(rows, 'input')}"
    if np.array_equal(a[:, inner], b[:, inner]):
        return [f"{text}, outside the domain alone: A's outer knots {outer(a[rows], degree)}, B's {outer(b[rows], degree)}"]
    if any(origins := [origin(t, degree, rows, samples) for t in (a, b)]):
        A, B = (found or "follow no rule that is known here" for found in origins)
        return [f"{text}: A's {A}, B's {B}"]
    p = rows[0]
    i = int(np.abs(a[p] - b[p]).argmax())
    return [f"{text}, most at knot {i} of input {p}: {both(a[p, i], b[p, i])}"]


def origin(t, degree, rows, samples):
    """The rule that rows of knots (P, T) follow: equal steps, or one of `kanref.grids.rules` from samples; else empty."""
    t = np.asarray(t[rows], float)
    G, near = t.shape[1] - 2 * degree - 1, lambda s: np.abs(s - t).max() <= 1e-6 * np.ptp(t)
    low, high = t[:, [degree]], t[:, [-degree - 1]]
    even = near(low + (high - low) * (np.arange(-degree, G + degree + 1) / G))
    for rule in RULES if samples is not None else ():
        if near(knots_from_samples(samples[:, rows], G, degree, rule)):
            return f"follow from the samples by the rule {rule!r}"
    ends = " and ".join(f"[{a:g}, {b:g}]" for a, b in dict.fromkeys(zip(low[:, 0].tolist(), high[:, 0].tolist())))
    return f"are uniform on {ends}" if even else ""


def outer(t, degree):
    """The style of the knots outside the domain."""
    t = np.asarray(t, float)
    G, low, high = t.shape[1] - 2 * degree - 1, t[:, [degree]], t[:, [-degree - 1]]
    k, there = np.arange(1, degree + 1), np.hstack([t[:, :degree][:, ::-1], t[:, -degree:]])
    first, last, mean = t[:, [degree + 1]] - low, high - t[:, [-degree - 2]], (high - low) / G
    for text, below, above in (
        ("repeat the edges", 0 * first, 0 * last),
        ("go on by the mean step", mean, mean),
        ("repeat the first and last span", first, last),
    ):
        if np.abs(np.hstack([low - k * below, high + k * above]) - there).max(initial=0) < 1e-6 * np.ptp(t):
            return text
    return "lie otherwise"


# -------------------------------------------------------------------------------------------- where there are no words


def arrays(A, B, place):
    """For layers that the protocol has no words for: what differs in their terms, or the smallest set of arrays that explains."""
    l = place.layer
    terms = [net.table()[l][2:4] for net in (A.net, B.net)]
    if terms[0] != terms[1]:
        text = [", ".join(map(str, own)) for own in terms]
        return [f"the layers are of other kinds: {text[0]} in A, {text[1]} in B"]
    own, other = A.arrays[l], B.arrays[l]
    if {n: a.shape for n, a in own.items()} != {n: a.shape for n, a in other.items()}:
        return ["the layers have arrays of other shapes"]
    differ = [name for name in own if not np.array_equal(own[name], other[name])]
    for count in range(1, len(differ) + 1):
        for names in combinations(differ, count):
            changed = {**own, **{name: other[name].astype(own[name].dtype) for name in names}}
            net, theta = A.net.rebuilt([A.net.layers[l]], [changed], A.dtype)
            try:
                found = getattr(type(A)(net, theta), place.stage)(0, place.z)
            except Refused:
                continue
            if place.fits(found, place.b):
                return [about_numbers(name, own[name], other[name]) for name in names]
    return []


def factors(place):
    """The number that B's values are A's times, where they part, or by which they are more."""
    beyond = place.beyond
    at = beyond.any(0)
    if len(beyond) < FEW:
        return []
    if (c := explain.common_factor(place.b[:, at], place.a[:, at])) is not None:
        return [f"what B makes there is {explain.NAMES.get(round(c, 5), f'{c:.6g} times')} what A makes"]
    with np.errstate(invalid="ignore"):
        more = place.b[:, at] - place.a[:, at]
    fits = np.isfinite(more).all() and (np.abs(more - more.mean()) <= place.allowed[:, at]).all()
    return [f"what B makes there is what A makes, and {more.mean():.6g} more"] if fits else []


def whereabouts(own, place):
    """Where alone they part, if it is a special place: outside the domain, on its edge, on knots."""
    if own is None or "knots" not in own or place.kind != "edge":
        return []
    q, p = place.parting()[2:4]
    x, t, d = place.z[:, p], own["knots"][p].astype(place.z.dtype), own["degree"]
    low, high, beyond = t[d], t[-d - 1], place.beyond[:, q, p]
    for text, there in (
        ("at the right edge of the domain", x == high),
        ("at the left edge of the domain", x == low),
        ("at the edges of the domain", (x == low) | (x == high)),
        ("exactly on knots", np.isin(x, t)),
        ("outside the domain", (x < low) | (x > high)),
    ):
        if there[beyond].all() and not there.all():
            return [f"on that edge they part only {text} [{low:g}, {high:g}] of A's splines"]
    return []


def listed(indices, word):
    """As "inputs 0, 2 and 5 more"."""
    shown = ", ".join(str(list(i) if isinstance(i, tuple) else i) for i in indices[:6])
    more = f" and {len(indices) - 6} more" if len(indices) > 6 else ""
    return f"{word}{'s' * (len(indices) > 1)} {shown}{more}"
