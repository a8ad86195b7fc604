"""The edges of one layer as plain arrays: what all spline KANs have in common, between kanref's layers and other libraries'.

    mask (scale spline(x) + weight b(x)),  c f(a x + b) + d,  and after the sums a bias and nodes.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from kanref.bases import BSpline, Pointwise, silu
from kanref.edges import Symbolic
from kanref.free_knots import FreeKnots
from kanref.interop.report import Report
from kanref.interop.tensors import numbered, read_arrays, write_arrays
from kanref.io import FileError, damage
from kanref.network import KAN, Layer, describe
from kanref.nodes import AFFINE, Nodes
from kanref.terms import Linear
from kanref.weights import Full, Masked, Scaled

LIBRARIES = "pykan", "efficient-kan", "ChebyKAN"  # entries of Model.extra that their readers make
MAX_NUMBERS = 2**26  # in a layer of splines, when edges with knots of their own become several terms


# --------------------------------------------------------------------------------------------------------- files and models


def opened(path, library, name, base):
    """What the readers of state dicts begin with: arrays of all layers (see `numbered`), those that belong to none, a `Report`.

    name: of the array that every layer has; base: the argument of the reader. Raises TypeError if that is no `Pointwise`.
    """
    if not isinstance(base, Pointwise):
        raise TypeError(f"base must be a Pointwise, as kanref.bases.silu, but it is {base!r}")
    state = read_arrays(path)
    with damage(path):
        layers, others = numbered(state, name, path)
    return layers, {other: state[other] for other in others}, Report(f"{library} to kanref")


def assembled(pairs, dtype, report):
    """Network and theta of pairs (Layer, its arrays)."""
    layers, arrays = zip(*pairs)
    with np.errstate(over="ignore"):
        net, theta = KAN(layers).rebuilt(layers, arrays, dtype)
    if not np.isfinite(theta).all():
        raise FileError(f"some numbers are beyond {dtype}, in which the weights are; save all of them in one precision")
    report.kept.insert(0, f"{list(net.widths)} with {net.size} parameters in {theta.dtype}")
    return net, theta


def finished(model, path, state, report, strict):
    """What the writers of state dicts end with: the file, if the report allows it."""
    report.settled(strict)
    write_arrays(path, {name: np.asarray(a, model.theta.dtype) for name, a in state.items()})
    report.dropped.extend(left_behind(model))
    return report


# ---------------------------------------------------------------------------------------------------------------- edges


@dataclass(frozen=True, eq=False)
class Splines:
    """Splines on all edges of a layer: knots (P, T), or (Q, P, T) with knots of its own for every edge; coef (Q, P, K); scale
    (Q, P) if it is trained by itself, else None; mask (Q, P) or None."""

    knots: np.ndarray
    degree: int
    coef: np.ndarray
    scale: np.ndarray | None = None
    mask: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Base:
    """weight b(x) on all edges of a layer: weight (Q, P), mask (Q, P) or None."""

    function: Pointwise
    weight: np.ndarray
    mask: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Edges:
    """One layer of `shape` (Q, P): splines, base branches, formulas {(q, p): (Function, (a, b, c, d))}, a bias (Q,) or None.

    arity: of every node; affine: {name: vector} of `kanref.nodes`; trained: names of those that are trained.
    """

    shape: tuple[int, int]
    splines: tuple[Splines, ...] = ()
    bases: tuple[Base, ...] = ()
    formulas: dict = field(default_factory=dict)
    bias: np.ndarray | None = None
    arity: tuple[int, ...] | None = None
    affine: dict = field(default_factory=dict)
    trained: tuple[str, ...] = ()

    def layer(self):
        """The `Layer`, and its arrays."""
        terms, arrays = {}, {}

        def add(name, basis, W, scale, mask):
            weights = Full(W.shape) if scale is None else Scaled(Full(W.shape))
            if mask is not None and not (mask == 1).all():
                weights = Masked(weights, mask)
            terms[name] = Linear(basis, weights)
            arrays.update({f"{name}.W": W} if scale is None else {f"{name}.W": W, f"{name}.scale": scale})

        for name, base in zip(_numbered("base"), self.bases):
            add(name, base.function, base.weight[:, :, None], None, base.mask)
        parts = [part for splines in self.splines for part in shared(splines)]
        for name, s in zip(_numbered("spline"), parts):
            add(name, BSpline(s.knots, s.degree), s.coef, s.scale, s.mask)
        if self.formulas:
            places = sorted(self.formulas)
            terms["symbolic"] = Symbolic(self.shape, tuple((*place, self.formulas[place][0]) for place in places))
            arrays["symbolic.affine"] = np.stack([self.formulas[place][1] for place in places])
        if self.bias is not None:
            arrays["bias"] = self.bias
        return Layer(terms, self.bias is not None, nodes=self.nodes(arrays)), arrays

    def nodes(self, arrays):
        """`Nodes`, or None if they do nothing and train nothing; the trained vectors are added to `arrays`."""
        affine = {name: a for name, a in self.affine.items() if name in self.trained or not identity(name, a)}
        arity = self.arity or (1,) * self.shape[0]
        if not affine and max(arity) == 1:
            return None
        trained = tuple(name for name in AFFINE if name in affine and name in self.trained)
        arrays.update({name: affine[name] for name in trained})
        return Nodes(arity, trained, {name: a for name, a in affine.items() if name not in trained})


def identity(name, a):
    """Whether an affine vector does nothing."""
    return bool((np.asarray(a) == float(name.endswith("scale"))).all())


def _numbered(name):
    """name, name2, name3, ..."""
    yield name
    n = 2
    while True:
        yield f"{name}{n}"
        n += 1


def shared(splines):
    """The same splines with knots (P, T): as they are if all outputs share their knots, else a part for each set of knots that
    an input has, masked to the edges that use it."""
    if splines.knots.ndim == 2:
        return [splines]
    Q, P, _ = splines.knots.shape
    rows, which = [], np.empty((Q, P), int)
    for p in range(P):
        own, which[:, p] = np.unique(splines.knots[:, p], axis=0, return_inverse=True)
        rows.append(own)
    sets = range(which.max() + 1)
    if len(sets) == 1:
        return [replace(splines, knots=np.concatenate(rows))]
    if len(sets) * splines.coef.size > MAX_NUMBERS:
        raise FileError(
            f"a layer has {len(sets)} sets of knots for one input, and a term for each would be too large; give the edges "
            "from an input the same knots"
        )
    mask = np.ones((Q, P)) if splines.mask is None else splines.mask
    knots = (np.stack([own[min(n, len(own) - 1)] for own in rows]) for n in sets)
    return [replace(splines, knots=t, mask=mask * (which == n)) for n, t in zip(sets, knots)]


# ------------------------------------------------------------------------------------------------------ out of kanref


def edges(layer, arrays, l, report):
    """The `Edges` of layer l (without input map); the report gets what is written otherwise, or has no place in them."""
    splines, others, formulas = [], [], {}
    for name, term in layer.terms.items():
        own, place = {array: arrays[f"{name}.{array}"] for array in term.arrays}, f"layer {l}, term {name!r}"
        if isinstance(term, Symbolic):
            for (q, p, f), row in zip(term.formulas, own["affine"]):
                if (q, p) in formulas:
                    report.differs.append(f"{place}: a second formula on the edge from {p} to {q}")
                formulas[q, p] = f, row
            continue
        if isinstance(term, FreeKnots):
            term, own = term.fixed(own)
            report.changed.append(f"{place}: the trained knots become fixed knots")
        basis = getattr(term, "basis", None)
        if isinstance(basis, BSpline):
            if basis.outside in ("linear", "clamp"):
                report.differs.append(f'{place}: outside="{basis.outside}"; the splines of others fade to zero there')
            elif basis.outside == "error":
                report.changed.append(f'{place}: outside="error" becomes "zero"')
            coef, scale, mask = _split(term.weights, own, place, report)
            splines.append(Splines(basis.knots, basis.degree, coef, scale, mask))
        elif isinstance(basis, Pointwise):
            weight, scale, mask = _split(term.weights, own, place, report)
            others.append(Base(basis, weight[:, :, 0] if scale is None else weight[:, :, 0] * scale, mask))
        else:
            report.differs.append(f"{place}: {describe(basis or term)} is neither spline, base function nor formula")
    if len(splines) > 1:
        report.differs.append(f"layer {l}: {len(splines)} terms of splines with knots of their own; others have one")
    bias = arrays["bias"] if layer.bias else None
    nodes = layer.nodes or Nodes((1,) * layer.sums)
    affine = {name: arrays.get(name, nodes.constants.get(name)) for name in AFFINE}
    affine = {name: a for name, a in affine.items() if a is not None}
    shape = layer.sums, layer.inputs
    return Edges(shape, tuple(splines[:1]), tuple(others), formulas, bias, nodes.arity, affine, nodes.trained)


def unwrapped(weights, arrays):
    """The weights inside, scale and mask (Q, P) or None, of weights that may be scaled and masked."""
    scale = mask = None
    while isinstance(weights, Masked | Scaled):
        if isinstance(weights, Masked):
            mask = weights.mask if mask is None else mask * weights.mask
        else:
            scale = arrays["scale"] if scale is None else scale * arrays["scale"]
        weights = weights.inner
    return weights, scale, mask


def _split(weights, arrays, place, report):
    """W (Q, P, K), scale and mask, as `unwrapped`."""
    weights, scale, mask = unwrapped(weights, arrays)
    if not isinstance(weights, Full):
        report.changed.append(f"{place}: {type(weights).__name__} weights are written out in full")
    return np.asarray(weights.tensor(arrays)), scale, mask


def widened(own, columns, width):
    """The edges from all columns: those from columns that are no inputs are masked."""

    def wide(a, fill=0.0):
        found = np.full((len(a), width, *a.shape[2:]), fill, a.dtype)
        found[:, list(columns)] = a
        return found

    Q, P = own.shape
    splines, others = [], []
    for s in own.splines:
        T = s.knots.shape[1]
        knots = np.tile(BSpline.uniform(1, T - 2 * s.degree - 1, s.degree).knots, (width, 1))
        knots[list(columns)] = s.knots
        mask = np.ones((Q, P)) if s.mask is None else s.mask
        scale = None if s.scale is None else wide(s.scale, 1.0)
        splines.append(Splines(knots, s.degree, wide(s.coef), scale, wide(mask)))
    for b in own.bases:
        mask = np.ones((Q, P)) if b.mask is None else b.mask
        others.append(Base(b.function, wide(b.weight), wide(mask)))
    formulas = {(q, columns[p]): f for (q, p), f in own.formulas.items()}
    return replace(own, shape=(Q, width), splines=tuple(splines), bases=tuple(others), formulas=formulas)


def folded(a, *factors):
    """a (Q, P, ...) times factors (Q, P) or (Q,); those that are None are 1."""
    for factor in factors:
        if factor is not None:
            a = a * np.asarray(factor, a.dtype).reshape(*factor.shape, *(1,) * (a.ndim - factor.ndim))
    return a


@dataclass(frozen=True, eq=False)
class Plain:
    """A layer as most libraries have it: sum_p (scale spline(x_p) + weight b(x_p)) + bias; no masks, formulas or products.

    knots (P, T); coef (Q, P, K); scale, weight (Q, P) and bias (Q,) are None if the layer has none.
    """

    knots: np.ndarray
    degree: int
    coef: np.ndarray
    scale: np.ndarray | None
    weight: np.ndarray | None
    bias: np.ndarray | None


def plain(model, library, report, biases=True):
    """The layers of a `Model` as `Plain`, and their base function; masks and affine maps are multiplied into the weights.

    biases: whether the library has them. The report gets what has no place there, which is left out.
    """
    of_layers = zip(model.net.layers, model.net.of_layers(model.theta))
    layers = [edges(layer, own, l, report) for l, (layer, own) in enumerate(of_layers)]
    if len(model.columns) < model.width:
        layers[0] = widened(layers[0], model.columns, model.width)
        report.changed.append(f"the {model.width - len(model.columns)} columns without an input become inputs of weight 0")
    functions = [b.function for own in layers for b in own.bases]
    base = silu if silu in functions or not functions else functions[0]
    found = []
    for l, (own, layer) in enumerate(zip(layers, model.net.layers)):
        found.append(_plain(own, base, l, library, model.theta.dtype, report, biases))
        if layer.normalise is not None:
            report.differs.append(f"layer {l}: {library} has no input map {describe(layer.normalise)}")
    return found, base


def _plain(own, base, l, library, dtype, report, biases):
    (Q, P), bad = own.shape, report.differs.append
    if own.formulas:
        bad(f"layer {l}: {library} has no formulas on edges, this one has {len(own.formulas)}")
    if max(own.arity) > 1:
        report.impossible.append(f"layer {l}: {library} has no product nodes, this one has {sum(a > 1 for a in own.arity)}")
        own = replace(own, affine={})
    if others := [b.function.name for b in own.bases if b.function is not base]:
        bad(f"layer {l}: {library} has one base function, {base.name}, not {others[0]} too")
    if own.affine or any(part.mask is not None for part in (*own.splines, *own.bases)):
        report.changed.append(f"layer {l}: masks and affine maps are multiplied into the weights")
    affine = {name: own.affine.get(name) for name in AFFINE}
    outer = affine["subnode_scale"], affine["node_scale"]
    weights = [folded(b.weight, b.mask, *outer) for b in own.bases if b.function is base]
    s = own.splines[0] if own.splines else Splines(BSpline.uniform(P, 5, 3).knots, 3, np.zeros((Q, P, 8)))
    if (s.knots.astype(dtype) != s.knots).any():
        report.changed.append(f"layer {l}: knots are rounded to {dtype}")
    if (np.diff(s.knots.astype(dtype)) == 0).any() or s.degree == 0:
        bad(f"layer {l}: {library} gives NaN at repeated knots, and 0 at the right end for degree 0; use simple knots")
    coef, scale = (s.coef, s.scale) if s.scale is None else (s.coef, folded(s.scale, s.mask, *outer))
    coef = folded(coef, s.mask, *outer) if scale is None else coef
    shift = lambda u, scale, bias: folded(u, affine[scale]) + (0 if affine[bias] is None else affine[bias])
    bias = np.zeros(Q) if own.bias is None else own.bias
    bias = shift(shift(bias, "subnode_scale", "subnode_bias"), "node_scale", "node_bias")
    if bias.any() and not biases:
        bad(f"layer {l}: {library} has no biases")
    kept = bias if biases and (own.bias is not None or bias.any()) else None
    return Plain(s.knots, s.degree, coef, scale, sum(weights[1:], weights[0]) if weights else None, kept)


def left_behind(model):
    """What of a `Model` no other library has, beside its network."""
    told = [] if model.task == "regression" else [f"the task {model.task!r}: outputs are the raw scores"]
    told += ["names of columns and the history of training"] * bool(model.names or len(model.history))
    own = sorted(set(model.extra) - set(LIBRARIES))
    return told + [f"{', '.join(own)} in Model.extra, which belong to kanref"] * bool(own)
