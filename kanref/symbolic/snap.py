"""From splines to formulas and back, edge by edge; networks and parameters go in and come out new.

    suggest(net, theta, x, l, q, p)         which functions the edge from input p to sum q of layer l may be, ranked
    fix(net, theta, l, q, p, "sin", x)      that edge becomes c sin(a x + b) + d
    unfix(net, theta, l, q, p, x)           and a spline again
    auto(net, theta, x)                     all edges become the best of their suggestions, if those are good enough

The choice. Every function fits almost every smooth curve on a short range: cos(a x) is x^2 as a goes to 0, (x + b)^5 is
nearly exp. More parameters always fit better, so a better fit must be worth its price:

    score = simplicity price + (1 - simplicity) log2(1 - R^2 + floor),   price = complexity + number of shape parameters,

lowest first. With simplicity = 0.6, each unit of price has to divide the unexplained variance by 2^1.5, about 3. Shape
parameters are those of a and b that change the curve beyond c and d: none for x, one for x^2, sqrt, exp, log, two for
sin (see `affine_fit.symmetries`), so x^2 is preferred to a cosine that is bent to be one. The floor is rounding; `auto`
knows more, as training errs everywhere alike: it takes the unexplained variance that the best fits of a network's edges
typically (in the median) leave, and one edge is not asked to fit a hundred times better than the others do.

rule="pykan-0.2.8" is  simplicity complexity + (1 - simplicity) log2(1 - R^2 + 1e-5)  with simplicity = 0.8. There a unit
must divide the variance by 16, and the logarithm has room for 16.6 bits, so that no function of complexity 5 can win
against "0", nor a sine with R^2 = 0.99. Here "0" is for constant edges only: whether an edge is there at all is a question
for pruning.

search="pykan-0.2.8" or "pykan-0.0" fits as those do, by `affine_fit.scan`, on all samples and slowly. Their R^2 has an absolute
number in its denominator, so that it tells small edges from large ones, and the fits of one function apart.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import lstsq

from kanref import arrays as border
from kanref.bases import BSpline
from kanref.edges import Symbolic
from kanref.functions import LIBRARY, Function
from kanref.grids.rebase import join_layers, split_layers
from kanref.symbolic.affine_fit import Fit, fit_affine, scan, symmetries
from kanref.terms import Linear
from kanref.weights import Full, Masked, Scaled
from kanref.words import aligned

GOOD = 0.99  # R^2 from which on `auto` believes in a formula
SAMPLES = 1000  # that functions are compared on
DIFFERENT = 1e-6  # part of the spread from which on two curves are two
PRIOR = 0.01  # weight of the domain beside the samples when a formula becomes a spline

SEARCHES = "kanref", "pykan-0.2.8", "pykan-0.0"

# name: default simplicity, price of a function, floor
RULES = {
    "kanref": (0.6, lambda f: f.complexity + symmetries(f).parameters, np.finfo(float).eps),
    "pykan-0.2.8": (0.8, lambda f: f.complexity, 1e-5),
}


# ------------------------------------------------------------------------------------------------------ suggestions


@dataclass(frozen=True)
class Suggestions:
    """Fits, best first, with their scores; str() is a table."""

    fits: tuple[Fit, ...]
    scores: tuple[float, ...]

    def __len__(self):
        return len(self.fits)

    def __iter__(self):
        return iter(self.fits)

    def __getitem__(self, i):
        return self.fits[i]

    def __str__(self):
        rows = [("function", "R^2", "score", "a", "b", "c", "d")]
        for fit, score in zip(self.fits, self.scores):
            numbers = (f"{number:.5g}" for number in fit.affine)
            rows.append((fit.function.name, f"{fit.r2:.8f}", f"{score:.3f}", *numbers))
        return aligned(rows)


def suggest(net, theta, x, l, q, p, *, library=None, simplicity=None, rule="kanref", search="kanref"):
    """Functions that the edge from input p to sum q of layer l may be, ranked: `Suggestions`.

    Every function is fitted to what the whole edge, all its terms, makes of what arrives there for samples x (N, n), on
    1000 of them at most. library: names or `Function`s, by default `functions.LIBRARY` without "0"; a formula that has
    two names counts once. simplicity in [0, 1], None for the rule's own, rule and search: see the module's text. A constant
    edge has one suggestion, "0".

    Raises ValueError for an edge that is not there, an unknown name, rule or search.
    """
    _edge(net, l, q, p)
    border.choice(search, "search", SEARCHES)
    u, phi = _arrivals(net, theta, x, l)
    return _ranked(_fits(_library(library), u[:, p], phi[:, q, p], search), *_criterion(simplicity, rule))


def _edge(net, l, q, p):
    """The layer of an edge that is there."""
    layer = net.layers[border.integer(l, "l", 0, len(net.layers) - 1)]
    border.integer(q, "q", 0, layer.sums - 1)
    border.integer(p, "p", 0, layer.inputs - 1)
    return layer


def _arrivals(net, theta, x, l):
    """What the terms of layer l see, (N, P), and its edges there, (N, S, P), in double precision."""
    x = border.points(x, net.inputs)
    if len(x) < 2:
        raise ValueError("x has only one sample, through which every function passes; give the training data")
    z = net.activations(np.asarray(theta, np.float64), x)[l]
    return net.layers[l].mapped(z), net.edges(np.asarray(theta, np.float64), l, z)


def _function(function):
    if isinstance(function, Function):
        return function
    return LIBRARY[border.choice(function, "function", tuple(LIBRARY))]


def _library(library):
    """Functions to try, each formula once."""
    if library is None:
        library = [f for name, f in LIBRARY.items() if name != "0"]
    elif isinstance(library, (str, Function)):
        raise TypeError(f"library must be a list of functions or names, but it is {library!r}; use [{library!r}]")
    elif isinstance(library, dict):
        library = library.values()
    once = {f.formula: f for f in reversed([_function(f) for f in library])}
    if not once:
        raise ValueError("library must hold at least one function, but it is empty; None is all of LIBRARY")
    return tuple(once.values())[::-1]


def _criterion(simplicity, rule):
    """simplicity, price and floor of a rule."""
    default, price, floor = RULES[border.choice(rule, "rule", tuple(RULES))]
    simplicity = default if simplicity is None else simplicity
    if not 0 <= simplicity <= 1:
        raise ValueError(f"simplicity must be from 0 (fit alone) to 1 (price alone), but it is {simplicity!r}")
    return simplicity, price, floor


def _fits(library, x, y, search="kanref"):
    """All functions fitted to samples of an edge; "0" alone if it is constant."""
    some = np.argsort(x, kind="stable")
    if len(x) > SAMPLES:
        some = some[np.linspace(0, len(x) - 1, SAMPLES).round().astype(int)]
    zero = fit_affine(LIBRARY["0"], x[some], y[some])
    if zero.r2 == 1:
        return [zero]
    x, y = (x[some], y[some]) if search == "kanref" else (x, y)
    return [_fitted(f, x, y, search) for f in library]


def _fitted(function, x, y, search):
    """c f(a x + b) + d by one of the searches."""
    if search == "kanref":
        return fit_affine(function, x, y)
    return scan(function, x, y, stays=search == "pykan-0.0")


def _ranked(fits, simplicity, price, floor):
    score = lambda fit: simplicity * price(fit.function) + (1 - simplicity) * np.log2(1 - fit.r2 + floor)
    scores = [float(score(fit)) for fit in fits]
    # sin and cos fit alike: of equal scores, the smaller shift
    order = sorted(range(len(fits)), key=lambda k: (round(scores[k], 4), abs(fits[k].b)))
    return Suggestions(tuple(fits[k] for k in order), tuple(scores[k] for k in order))


# ---------------------------------------------------------------------------------------------------- fix and unfix


def fix(net, theta, l, q, p, function, x=None, affine=None, search="kanref"):
    """The edge from input p to sum q of layer l becomes c f(a u + b) + d, u what the terms see: net, theta.

    function: a `Function` or a name of the library. affine: (a, b, c, d); without it they are fitted to the edge as it
    is, on what arrives for samples x (N, n), by the search of the module's text. The layer gets a term "symbolic", if it
    has none; all other terms are masked there, and keep their parameters. An edge that is a formula gets the new one.
    """
    _edge(net, l, q, p)
    border.choice(search, "search", SEARCHES)
    function = _function(function)
    if affine is None:
        if x is None:
            raise ValueError("x (samples to fit a, b, c, d to) or affine (a, b, c, d) must be given, but both are None")
        u, phi = _arrivals(net, theta, x, l)
        affine = _fitted(function, u[:, p], phi[:, q, p], search).affine
    affine = border.real_array(affine, "affine", np.float64)
    if affine.shape != (4,):
        raise ValueError(f"affine must be four numbers (a, b, c, d), but it has shape {affine.shape}")
    return _with_formulas(net, theta, l, {(q, p): (function, affine)})


def formulas(layer):
    """The name of a layer's `Symbolic` term and {(q, p): its row}; "symbolic" and {} if there is none."""
    for name, term in layer.terms.items():
        if isinstance(term, Symbolic):
            return name, {(q, p): e for e, (q, p, _) in enumerate(term.formulas)}
    if "symbolic" in layer.terms:
        raise ValueError('the layer has a term "symbolic" that is no Symbolic term; give it another name')
    return "symbolic", {}


def _with_formulas(net, theta, l, new, silent=()):
    """The network with formulas {(q, p): (function, affine)} in layer l, and with the edges `silent` masked."""
    layer, arrays = net.layers[l], split_layers(net, theta)
    name, rows = formulas(layer)
    old = {place: (layer.terms[name].formulas[e][2], arrays[l][f"{name}.affine"][e]) for place, e in rows.items()}
    table = old | new
    mask = np.ones((layer.sums, layer.inputs))
    for place in (*new, *silent):
        mask[place] = 0
    terms = {other: _masked(term, mask) for other, term in layer.terms.items() if other != name}
    if table:
        places = sorted(table)
        terms[name] = Symbolic(mask.shape, tuple((*place, table[place][0]) for place in places))
        arrays[l][f"{name}.affine"] = np.stack([table[place][1] for place in places])
    return _rebuilt(net, theta, l, terms, arrays)


def _masked(term, mask):
    """A `Linear` term times a mask (S, P)."""
    if not isinstance(term, Linear):
        raise TypeError(f"terms of type {type(term).__name__} cannot be masked, so no formula can take their place")
    weights = term.weights
    if isinstance(weights, Masked):
        weights, mask = weights.inner, weights.mask * mask
    return Linear(term.basis, weights if (mask == 1).all() else Masked(weights, mask))


def _rebuilt(net, theta, l, terms, arrays):
    layers = [replace(layer, terms=terms) if i == l else layer for i, layer in enumerate(net.layers)]
    return join_layers(net, layers, arrays, np.asarray(theta).dtype)


def unfix(net, theta, l, q, p, x):
    """The formula of the edge from input p to sum q of layer l becomes a spline again: net, theta.

    The term with the most basis functions (the spline) takes it over by least squares, on what arrives for samples x
    (N, n) and, with a hundredth of the weight, on its domain, so that empty intervals do no harm. The masks of this edge
    are lifted, and its weights in other terms (the base function) are zero. Constant weights stay masked; so do other
    edges.

    Raises ValueError if the edge is no formula, or if no term of the layer can take it over.
    """
    layer, arrays = _edge(net, l, q, p), split_layers(net, theta)
    name, rows = formulas(layer)
    if (q, p) not in rows:
        raise ValueError(f"edge ({q}, {p}) of layer {l} is no formula; there are formulas at {sorted(rows)}")
    u = _arrivals(net, theta, x, l)[0][:, p]
    f, (a, b, c, d) = layer.terms[name].formulas[rows[q, p]][2], arrays[l][f"{name}.affine"][rows[q, p]]
    terms, own = dict(layer.terms), arrays[l]
    takers = [other for other, term in terms.items() if isinstance(term, Linear) and _trained(term.weights)]
    if not takers:
        raise ValueError(f"layer {l} has no term with trained weights that could take the edge over; keep the formula")
    taker = max(takers, key=lambda other: terms[other].basis.size)
    for other in takers:
        basis, weights = terms[other].basis, terms[other].weights
        w = _coefficients(basis, p, u, lambda t: c * f(a * t + b) + d) if other == taker else np.zeros(basis.size)
        kept = {array: own.pop(f"{other}.{array}") for array in weights.arrays}
        weights, kept = _written(weights, kept, q, p, w)
        terms[other] = Linear(basis, weights)
        own.update((f"{other}.{array}", values) for array, values in kept.items())
    others = [e for place, e in rows.items() if place != (q, p)]
    affine = own.pop(f"{name}.affine")
    del terms[name]
    if others:
        terms[name] = Symbolic((layer.sums, layer.inputs), tuple(layer.terms[name].formulas[e] for e in others))
        own[f"{name}.affine"] = affine[others]
    return _rebuilt(net, theta, l, terms, arrays)


def _trained(weights):
    """Whether single edges of these weights can be written."""
    return isinstance(weights, Full) or (isinstance(weights, (Masked, Scaled)) and _trained(weights.inner))


def _written(weights, arrays, q, p, w):
    """Weights and arrays with W[q, p] = w, that edge no longer masked."""
    if isinstance(weights, Full):
        W = arrays["W"].copy()
        W[q, p] = w
        return weights, {"W": W}
    inner, written = _written(weights.inner, arrays, q, p, w)
    if isinstance(weights, Scaled):
        scale = arrays["scale"].copy()
        scale[q, p] = 1
        return Scaled(inner), {**written, "scale": scale}
    mask = weights.mask.copy()
    mask[q, p] = 1
    return (inner if (mask == 1).all() else Masked(inner, mask)), written


def _coefficients(basis, p, u, curve):
    """Weights (K,) of the functions of input p that come closest to a curve at u (N,) and on the domain."""
    at, weight = u, np.full(len(u), 1 / len(u))
    if isinstance(basis, BSpline):
        low, high = basis.domain[p]
        between = np.linspace(low, high, 8 * basis.intervals + 1)
        at = np.append(u, between)
        weight = np.append(weight, np.full(len(between), PRIOR / len(between)))
        weight[(at < low) | (at > high)] = 0
    y = curve(at)
    usable = (weight > 0) & np.isfinite(y)
    at, y, root = at[usable], y[usable], np.sqrt(weight[usable])
    points = np.zeros((len(at), basis.inputs if isinstance(basis, BSpline) else 1))
    column = p if isinstance(basis, BSpline) else 0
    points[:, :] = at[:, None]
    first, values = basis.derivatives(points, 0)
    B = np.zeros((len(at), basis.size))
    np.put_along_axis(B, first[:, column, None] + np.arange(basis.window), values[0, :, column], 1)
    return lstsq(B * root[:, None], y * root, lapack_driver="gelsy")[0]


# ------------------------------------------------------------------------------------------------------------- auto


@dataclass(frozen=True)
class Snap:
    """What `auto` saw at one edge: the best suggestion, the next one that is another curve (or None), and whether the
    edge became a formula."""

    l: int
    q: int
    p: int
    best: Fit
    second: Fit | None
    fixed: bool


@dataclass(frozen=True, eq=False)
class Snapped:
    """A network and theta with formulas; `edges` says how each edge fared, `report` the same as a table."""

    net: object
    theta: np.ndarray
    edges: tuple[Snap, ...]

    @property
    def left(self):
        """Edges that are splines still."""
        return tuple(edge for edge in self.edges if not edge.fixed)

    @property
    def report(self):
        if not self.edges:
            return "There was no edge to make a formula of."
        rows = [("layer", "edge", "function", "R^2", "runner-up", "R^2", "")]
        for e in self.edges:
            second = ("", "") if e.second is None else (e.second.function.name, f"{e.second.r2:.8f}")
            best = e.best.function.name, f"{e.best.r2:.8f}"
            rows.append((str(e.l), f"{e.p} -> {e.q}", *best, *second, "" if e.fixed else "left as it is"))
        return aligned(rows, 3)

    def __str__(self):
        return self.report


def auto(net, theta, x, *, library=None, simplicity=None, r2=GOOD, rule="kanref", search="kanref"):
    """Every edge that is no formula becomes the first of its suggestions with R^2 >= r2: `Snapped`.

    library, simplicity, rule, search: as for `suggest`. Edges for which no suggestion is so good are left as they are, and
    reported. Edges that are zero for all samples x (N, n) get no formula; they are masked. a, b, c, d are fitted layer by
    layer, to what arrives when the layers before are formulas already, so that every argument is inside its function's
    domain for all samples; pykan's searches keep what they found on the network as it was. Nothing is trained: each edge
    is fitted by itself, so train a, b, c, d together afterwards.
    """
    if not r2 <= 1:
        raise ValueError(f"r2 must be at most 1, which is a perfect fit, but it is {r2!r}")
    border.choice(search, "search", SEARCHES)
    library, (simplicity, price, floor) = _library(library), _criterion(simplicity, rule)
    fits, silent = {}, [[] for _ in net.layers]
    for l, layer in enumerate(net.layers):
        u, phi = _arrivals(net, theta, x, l)
        there = formulas(layer)[1]
        for q, p in np.ndindex(layer.sums, layer.inputs):
            if (q, p) not in there:
                if phi[:, q, p].any():
                    fits[l, q, p] = _fits(library, u[:, p], phi[:, q, p], search)
                else:
                    silent[l].append((q, p))
    rest = [1 - max(fit.r2 for fit in own) for own in fits.values()]
    rest = [u for u in rest if u <= 1 - r2]
    if rest and rule == "kanref":
        floor = max(floor, np.median(rest))
    seen = []
    for l in range(len(net.layers)):
        u, phi = _arrivals(net, theta, x, l)
        new = {}
        for (_, q, p), own in ((place, own) for place, own in fits.items() if place[0] == l):
            ranked = _ranked(own, simplicity, price, floor)
            good = [fit for fit in ranked if fit.r2 >= r2]
            first = good[0] if good else max(ranked, key=lambda fit: fit.r2)
            best = fit_affine(first.function, u[:, p], phi[:, q, p]) if search == "kanref" else first
            seen.append(Snap(l, q, p, best, _second(first, ranked, u[:, p]), bool(good)))
            if good:
                new[q, p] = best.function, best.affine
        net, theta = _with_formulas(net, theta, l, new, silent[l])
    return Snapped(net, theta, tuple(seen))


def _second(first, ranked, x):
    """The next suggestion that is another curve at samples x."""
    curve = first(x)
    least = DIFFERENT * np.ptp(curve)
    return next((fit for fit in ranked if not np.abs(fit(x) - curve).max() <= least), None)
