"""Networks: layers in a row (Liu et al., eq. 2.7), structure only. Everything trained is one flat vector theta.

net(theta, x)                       values f(x; theta), (N, m)
net.forward(theta, z)               the jet of the outputs, and a tape of what the pullback needs
net.pullback(theta, tape, y_bar)    theta_bar, and with inputs=True the jet adjoint of the inputs
net.rows(theta, tape, y_bar)        theta_bar of every sample by itself: rows of a Jacobian
net.split(theta)                    named views: {"0.spline.W": (out, in, basis), ...}
net.select(theta, nodes)            the network on some of its nodes, and its theta
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kanref import arrays as border
from kanref import bases, jets
from kanref.bases import BSpline, MinMax, Pointwise
from kanref.edges import Symbolic
from kanref.free_knots import FreeKnots
from kanref.narrow import Narrow, Passage
from kanref.nodes import Nodes
from kanref.terms import Linear, Sum, Term
from kanref.weights import Full, Masked, Scaled
from kanref.words import aligned


@dataclass(frozen=True, eq=False)
class Layer:
    """A sum of named terms, applied to inputs that may be mapped first, plus a bias, followed by nodes.

    terms: {name: term}, all with the same numbers of inputs and outputs;
    bias: a trained number for each sum;
    normalise: a basis of one function applied to every input first (`bases.tanh`, `bases.sigmoid`, `bases.MinMax`);
    nodes: `Nodes`, or None for plain sums.
    """

    terms: dict[str, Term]
    bias: bool = False
    normalise: object = None
    nodes: Nodes | None = None

    def __post_init__(self):
        if not self.terms:
            raise ValueError("a layer needs at least one term, but terms is empty")
        shapes = {name: term.shape for name, term in self.terms.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"the terms of a layer must agree in (out, in), but they are {shapes}")
        if self.nodes is not None and self.nodes.sums != self._shape[0]:
            raise ValueError(
                f"nodes of arity {self.nodes.arity} take {self.nodes.sums} sums, but the terms have {self._shape[0]} outputs"
            )
        if self.normalise is not None and getattr(self.normalise, "size", None) != 1:
            has = getattr(self.normalise, "size", "none")
            raise ValueError(f"normalise must be a basis of one function, but it has {has}; use bases.tanh or MinMax")
        if isinstance(self.normalise, MinMax) and len(self.normalise.low) != self.inputs:
            raise ValueError(f"normalise maps {len(self.normalise.low)} inputs, but the layer has {self.inputs}")

    @cached_property
    def _shape(self):
        return next(iter(self.terms.values())).shape

    @property
    def inputs(self):
        return self._shape[1]

    @property
    def sums(self):
        """Outputs of the terms, before nodes."""
        return self._shape[0]

    @property
    def outputs(self):
        return len(self.nodes.arity) if self.nodes else self._shape[0]

    @cached_property
    def arrays(self):
        """{name: shape} of all that is trained: "term.array", "bias", and the nodes' affine maps."""
        shapes = {f"{name}.{array}": shape for name, term in self.terms.items() for array, shape in term.arrays.items()}
        if self.bias:
            shapes["bias"] = (self.sums,)
        return {**shapes, **(self.nodes.arrays if self.nodes else {})}

    @cached_property
    def _sum(self):
        return Sum(tuple(self.terms.values()))

    @cached_property
    def _keys(self):
        return [[(array, f"{name}.{array}") for array in term.arrays] for name, term in self.terms.items()]

    def _of_terms(self, arrays):
        return [{array: arrays[key] for array, key in keys} for keys in self._keys]

    def forward(self, arrays, z):
        """Jet z (M, N, P) -> jet y (M, N, Q), and the tape (arrays, z, mapped inputs, sums)."""
        x = z
        if self.normalise is not None:
            b = self.normalise.derivatives(z[0], jets.order(z))[1]
            x = np.ascontiguousarray(jets.lift(b, z)[..., 0])
        u = self._sum.forward(self._of_terms(arrays), x)
        return self.finish(arrays, u), (arrays, z, x, u)

    def finish(self, arrays, u):
        """What follows the jet u (M, N, S) of the terms' sum: the bias, which is added to u itself, and the nodes."""
        if self.bias:
            u[0] += arrays["bias"]
        return self.nodes.forward(arrays, u) if self.nodes else u

    def finish_pullback(self, arrays, u, y_bar):
        """Adjoints of `finish` for its changed u: {name: array} summed over samples, and u_bar."""
        arrays_bar = {}
        if self.nodes:
            rows, y_bar = self.nodes.pullback_rows(arrays, u, y_bar)
            arrays_bar = {name: a.sum(0) for name, a in rows.items()}
        if self.bias:
            arrays_bar["bias"] = y_bar[0].sum(0)
        return arrays_bar, y_bar

    def pullback(self, tape, y_bar, inputs=True):
        """Adjoints of `forward`: {name: array} summed over samples, and z_bar (None unless `inputs`)."""
        arrays, z, x, u = tape
        arrays_bar, y_bar = self.finish_pullback(arrays, u, y_bar)
        of_terms, x_bar = self._sum.pullback(self._of_terms(arrays), x, y_bar, inputs)
        self._collect(arrays_bar, of_terms)
        return arrays_bar, self._normalise_pullback(z, x_bar) if inputs else None

    def rows(self, tape, y_bar):
        """As `pullback`, with the adjoints of every sample by themselves, (N, ...), and z_bar."""
        arrays, z, x, u = tape
        rows = {}
        if self.nodes:
            rows, y_bar = self.nodes.pullback_rows(arrays, u, y_bar)
        if self.bias:
            rows["bias"] = y_bar[0]
        y_bar, own = np.ascontiguousarray(y_bar), self._of_terms(arrays)
        self._collect(rows, self._sum.rows(own, x, y_bar))
        _, x_bar = self._sum.pullback(own, x, y_bar)
        return rows, self._normalise_pullback(z, x_bar)

    def edges(self, arrays, x):
        """The edge functions phi_{q,p} at the layer's inputs x (N, P), all terms together: (N, Q, P)."""
        return self._sum.edges(self._of_terms(arrays), self.mapped(x))

    def mapped(self, x):
        """What the terms see of the layer's inputs x (N, P)."""
        return x if self.normalise is None else np.ascontiguousarray(self.normalise.derivatives(x, 0)[1][0, ..., 0])

    def edges_pullback(self, arrays, x, phi_bar):
        """Adjoints of `edges` for phi_bar (N, Q, P): {name: array} of the terms' arrays, and x_bar (N, P)."""
        of_terms, x_bar = self._sum.edges_pullback(self._of_terms(arrays), self.mapped(x), phi_bar)
        arrays_bar = {}
        self._collect(arrays_bar, of_terms)
        return arrays_bar, self.mapped_pullback(x, x_bar)

    def mapped_pullback(self, x, mapped_bar):
        """Adjoint x_bar (N, P) of `mapped`."""
        return self._normalise_pullback(x[None], mapped_bar[None])[0]

    def sums_of(self, nodes):
        """Indices of the sums that some nodes are made of, in order."""
        return nodes if self.nodes is None else self.nodes.subnodes(nodes)

    def select(self, arrays, outputs, inputs):
        """The layer on some of its nodes, with all their subnodes, and some of its inputs: layer, arrays."""
        terms, kept, sums = {}, {}, self.sums_of(outputs)
        for (name, term), own in zip(self.terms.items(), self._of_terms(arrays)):
            term, own = term.select(own, sums, inputs)
            if term:
                terms[name] = term
                kept.update((f"{name}.{array}", a) for array, a in own.items())
        if self.bias:
            kept["bias"] = arrays["bias"][sums]
        nodes, own = self.nodes.select(arrays, outputs) if self.nodes else (None, {})
        normalise = None if self.normalise is None else self.normalise.select(inputs)
        return Layer(terms, self.bias, normalise, nodes), kept | own

    def _collect(self, target, of_terms):
        for keys, own in zip(self._keys, of_terms):
            target.update((key, own[array]) for array, key in keys)

    def _normalise_pullback(self, z, x_bar):
        if self.normalise is None:
            return x_bar
        b = self.normalise.derivatives(z[0], jets.order(z) + 1)[1]
        return jets.lift_pullback(b, z, x_bar[..., None])


@dataclass(frozen=True, eq=False)
class KAN:
    """A Kolmogorov-Arnold network: a tuple of layers that fit together."""

    layers: tuple[Layer, ...]

    def __post_init__(self):
        layers = tuple(self.layers)
        if not layers:
            raise ValueError("a network needs at least one layer, but layers is empty")
        for l, (a, b) in enumerate(zip(layers, layers[1:])):
            if a.outputs != b.inputs:
                raise ValueError(
                    f"layer {l} has {a.outputs} outputs, but layer {l + 1} takes {b.inputs} inputs; they must agree"
                )
        object.__setattr__(self, "layers", layers)

    @property
    def inputs(self):
        return self.layers[0].inputs

    @property
    def outputs(self):
        return self.layers[-1].outputs

    @property
    def widths(self):
        """Nodes of every level, inputs first."""
        return (self.inputs, *(layer.outputs for layer in self.layers))

    # ------------------------------------------------------------------------------------------- one flat vector

    @cached_property
    def layout(self):
        """{name: (start, shape)} of every trained array in theta."""
        table, start = {}, 0
        for l, layer in enumerate(self.layers):
            for name, shape in layer.arrays.items():
                table[f"{l}.{name}"] = (start, shape)
                start += math.prod(shape)
        return table

    @cached_property
    def size(self):
        """Length of theta."""
        return sum(math.prod(shape) for _, shape in self.layout.values())

    def split(self, theta):
        """{name: view} of theta (..., size): no copies, so writing into a view writes into theta."""
        theta = np.asarray(theta)
        if theta.ndim == 0 or theta.shape[-1] != self.size or theta.dtype not in border.FLOATS:
            raise ValueError(
                f"theta must hold {self.size} float64 or float32 numbers for this network, but it has shape {theta.shape} and "
                f"dtype {theta.dtype}; start from net.init(seed) or net.join(arrays)"
            )
        return {name: border.view(theta, start, shape) for name, (start, shape) in self.layout.items()}

    def join(self, arrays):
        """theta from {name: array}: the inverse of `split`. Every array must be there, with its shape."""
        theta = np.empty(self.size)
        views = self.split(theta)
        if missing := set(views) - set(arrays):
            raise ValueError(f"arrays lacks {', '.join(sorted(missing))}")
        if extra := set(arrays) - set(views):
            raise ValueError(
                f"arrays has {', '.join(sorted(extra))}, which this network does not; it has {', '.join(views)}"
            )
        for name, target in views.items():
            source = border.real_array(arrays[name], name)
            if source.shape != target.shape:
                raise ValueError(f"{name} must have shape {target.shape}, but it has shape {source.shape}")
            target[...] = source
        return theta

    def spread(self, values, default=0.0):
        """A vector as long as theta that is constant on every array: learning rates for components.

        values: {pattern: number}; a pattern is a full name or its end, as "W", "spline.W" or "1.spline.W". Later patterns
        win; arrays that none fits get `default`.
        """
        vector = np.full(self.size, float(default))
        for pattern, value in values.items():
            fits = [name for name in self.layout if name == pattern or name.endswith("." + pattern)]
            if not fits:
                raise ValueError(f"no array is named {pattern!r} or ends so; there are {', '.join(self.layout)}")
            for name in fits:
                start, shape = self.layout[name]
                vector[start : start + math.prod(shape)] = value
        return vector

    @cached_property
    def _names(self):
        return [[(name, f"{l}.{name}") for name in layer.arrays] for l, layer in enumerate(self.layers)]

    def of_layers(self, theta):
        """{name: view} of theta for every layer."""
        views = self.split(theta)
        return [{name: views[key] for name, key in names} for names in self._names]

    def init(self, seed=0, scheme="kanref"):
        """A starting theta; see `kanref.initialise` for the schemes by name."""
        from kanref.initialise import initial

        return initial(self, seed, scheme)

    # ------------------------------------------------------------------------------------------ forward and back

    def __call__(self, theta, x):
        """Values (N, m) at x (N, n), in theta's precision."""
        theta, x = self._checked(theta, x)
        return self.forward(theta, x[None])[0][0]

    def vector(self, theta):
        """theta as an array, checked to be one vector of this network."""
        theta = np.asarray(theta)
        if theta.ndim != 1:
            raise ValueError(f"theta must be one vector, but it has shape {theta.shape}; call once for each row")
        if theta.size != self.size or theta.dtype not in border.FLOATS:
            self.split(theta)
        return theta

    def _checked(self, theta, x):
        """theta as one vector of this network, and x (N, n) in its precision."""
        theta = self.vector(theta)
        return theta, border.points(x, self.inputs, dtype=theta.dtype)

    def forward(self, theta, z):
        """The jet (M, N, m) of the outputs for the jet z (M, N, n) of the inputs, and the tape."""
        if len(z) > 1 and self._narrow is not None and self._narrow.jets and z.dtype == theta.dtype:
            return self._narrow.forward(theta, z)
        tape = []
        for layer, arrays in zip(self.layers, self.of_layers(theta)):
            z, record = layer.forward(arrays, z)
            tape.append(record)
        return z, tape

    def activations(self, theta, x):
        """The inputs (N, P) of every layer, and the outputs last, at samples x (N, n)."""
        theta, x = self._checked(theta, x)
        y, tape = self.forward(theta, x[None])
        return [z[0] for _, z, _, _ in tape] + [y[0]]

    def edges(self, theta, l, x):
        """The edge functions of layer l at its inputs x (N, P): (N, Q, P)."""
        return self.layers[l].edges(self._of_layer(theta, l), x)

    def select(self, theta, nodes):
        """The network on some nodes of every level, and its theta; the edges of the others go with them.

        nodes: a list of index arrays, one for every level, inputs first; indices are kept in the order given.
        """
        if len(nodes) != len(self.widths):
            raise ValueError(
                f"nodes must name some of each of the {len(self.widths)} levels, but it has {len(nodes)} parts"
            )
        kept = [_indices(own, f"nodes[{l}]", width) for l, (own, width) in enumerate(zip(nodes, self.widths))]
        levels = zip(self.layers, self.of_layers(theta), kept[1:], kept)
        layers, arrays = zip(*(layer.select(own, q, p) for layer, own, q, p in levels))
        return self.rebuilt(layers, arrays, np.asarray(theta).dtype)

    def rebuilt(self, layers, arrays, dtype=np.float64):
        """The network of other layers, and its theta from a dictionary of arrays for each of them."""
        net = replace(self, layers=tuple(layers))
        flat = {f"{l}.{name}": a for l, own in enumerate(arrays) for name, a in own.items()}
        return net, net.join(flat).astype(dtype)

    def pullback(self, theta, tape, y_bar, inputs=False):
        """theta_bar (size,) and the adjoint (M, N, n) of the input jet (None unless `inputs`) for a y_bar (M, N, m)."""
        if isinstance(tape, Passage):
            return self._narrow.pullback(theta, tape, y_bar, inputs)
        theta_bar = np.empty_like(theta)
        views = self.of_layers(theta_bar)
        for l in reversed(range(len(self.layers))):
            wanted = inputs or l > 0
            arrays_bar, y_bar = self.layers[l].pullback(tape[l], y_bar, wanted)
            for name, target in views[l].items():
                target[...] = arrays_bar[name]
        return theta_bar, y_bar

    @cached_property
    def _narrow(self):
        return Narrow.of(self)

    def squared_error(self, theta, x, y):
        """1/(N m) sum (f(x; theta) - y)^2 and its gradient, for x (N, n), y (N, m) in theta's precision."""
        if self._narrow is not None and self._narrow.loss:
            return self._narrow.squared_error(theta, x, y)
        f, tape = self.forward(theta, x[None])
        r = f[0] - y
        return float(np.square(r).sum() / r.size), self.pullback(theta, tape, (2 / r.size) * r[None])[0]

    def rows(self, theta, tape, y_bar):
        """(N, size): theta_bar of every sample by itself, for y_bar (M, N, m)."""
        if isinstance(tape, Passage):
            tape = tape.records(self.of_layers(theta), self.widths)
        J = np.empty((y_bar.shape[1], self.size), theta.dtype)
        views = self.of_layers(J)
        for l in reversed(range(len(self.layers))):
            rows, y_bar = self.layers[l].rows(tape[l], y_bar)
            for name, target in views[l].items():
                target[...] = rows[name]
        return J

    def _of_layer(self, theta, l):
        return {name: border.view(theta, *self.layout[key]) for name, key in self._names[l]}

    # ---------------------------------------------------------------------------------------- input derivatives

    def derivatives(self, theta, x, directions=None):
        """Values (N, m), first (D, N, m) and second (D, N, m) derivatives along directions (D, n), by default the axes."""
        theta, x = self._checked(theta, x)
        v = np.eye(self.inputs) if directions is None else border.points(directions, self.inputs, "directions")
        return jets.parts(self.forward(theta, jets.seed(x, v))[0])

    def gradient(self, theta, x):
        """d f_o / d x_i at every sample, (N, m, n)."""
        return np.moveaxis(self.derivatives(theta, x)[1], 0, -1)

    def hessian(self, theta, x):
        """d^2 f_o / d x_i d x_j at every sample, (N, m, n, n), by polarisation over n (n+1)/2 directions."""
        n = self.inputs
        i, j = np.triu_indices(n)
        v = np.eye(n)[i] + np.where((i == j)[:, None], 0, np.eye(n)[j])
        second = self.derivatives(theta, x, v)[2]
        H = np.empty((*second.shape[1:], n, n), second.dtype)
        H[..., i, j] = np.moveaxis(second, 0, -1)
        pure = np.einsum("...ii->...i", H).copy()
        mixed = (H[..., i, j] - pure[..., i] - pure[..., j]) / 2
        H[..., i, j] = H[..., j, i] = np.where(i == j, pure[..., i], mixed)
        return H

    def jacobian(self, theta, x):
        """d f_o / d theta at every sample, (N, m, size)."""
        theta, x = self._checked(theta, x)
        y, tape = self.forward(theta, x[None])
        J = np.empty((len(x), self.outputs, self.size), y.dtype)
        for o in range(self.outputs):
            y_bar = np.zeros_like(y)
            y_bar[..., o] = 1
            J[:, o] = self.rows(theta, tape, y_bar)
        return J

    # ------------------------------------------------------------------------------------------------- in words

    def table(self):
        """Rows (layer, shape, terms, nodes, parameters) that describe the network."""
        rows = []
        for l, layer in enumerate(self.layers):
            kinds = [f"{name}: {describe(getattr(term, 'basis', term))}" for name, term in layer.terms.items()]
            if layer.normalise is not None:
                kinds.insert(0, f"inputs by {describe(layer.normalise)}")
            arity = "sums" if layer.nodes is None else f"arity {layer.nodes.arity}"
            size = sum(math.prod(shape) for shape in layer.arrays.values())
            rows.append((l, f"{layer.inputs} -> {layer.outputs}", "; ".join(kinds), arity, size))
        return rows

    def __repr__(self):
        lines = [("layer", "in -> out", "terms", "nodes", "parameters"), *self.table()]
        body = aligned(lines, left=5)
        return f"KAN {list(self.widths)}, {self.size} parameters\n{body}"


def describe(basis):
    """A basis, or a term without one, in a few words."""
    if isinstance(basis, Symbolic):
        return ", ".join(f.name for _, _, f in basis.formulas[:8]) + ", ..." * (len(basis.formulas) > 8)
    if isinstance(basis, FreeKnots):
        return f"B-splines of degree {basis.degree} on {basis.intervals} free intervals, outside: {basis.outside}"
    if isinstance(basis, BSpline):
        spacing = "uniform" if (basis.steps > 0).all() else "non-uniform"
        return f"B-splines of degree {basis.degree} on {basis.intervals} {spacing} intervals, outside: {basis.outside}"
    return (
        basis.name
        if isinstance(basis, Pointwise)
        else repr(basis)
        if hasattr(basis, "degree")
        else type(basis).__name__
    )


def _indices(indices, name, size):
    """Different indices below `size`, at least one."""
    indices = np.asarray(indices)
    if indices.ndim != 1 or indices.size == 0 or indices.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a list of indices, at least one, but it is {indices!r}")
    if indices.min() < 0 or indices.max() >= size or len(np.unique(indices)) < indices.size:
        raise ValueError(f"{name} must be different indices from 0 to {size - 1}, but it is {indices.tolist()}")
    return indices.astype(np.int64)


# ------------------------------------------------------------------------------------------------------ builders


def spline_layer(
    inputs, outputs, basis, *, base="silu", scaled=False, mask=None, bias=False, normalise=None, nodes=None
):
    """The paper's layer w_b b(x) + w_s spline(x) (eq. 2.10) on a given basis.

    base: name or `Pointwise`, None for no base branch; scaled: train w_s; mask: (out, in), switches whole edges.
    """
    if not (base is None or isinstance(base, (str, Pointwise))):
        raise TypeError(f"base must be the name of a base function, a Pointwise or None, but it is {base!r}")
    masked = (lambda weights: Masked(weights, mask)) if mask is not None else (lambda weights: weights)
    spline = Full((outputs, inputs, basis.size))
    parts = {}
    if base is not None and base != "zero":
        function = (
            bases.BASE_FUNCTIONS[border.choice(base, "base", tuple(bases.BASE_FUNCTIONS))]
            if isinstance(base, str)
            else base
        )
        parts["base"] = Linear(function, masked(Full((outputs, inputs, 1))))
    parts["spline"] = Linear(basis, masked(Scaled(spline) if scaled else spline))
    return Layer(parts, bias, normalise, nodes)


def kan(
    widths,
    *,
    intervals=5,
    degree=3,
    domain=(-1.0, 1.0),
    outside="zero",
    base="silu",
    scaled=False,
    bias=False,
    inputs=None,
    normalise=None,
    affine=(),
    first="spline",
):
    """A network of B-spline layers.

    widths: nodes of every level, inputs first. A level may be [sums, products] for product nodes of arity 2, or
        [sums, [arity, arity, ...]] for products of any arity (pykan's mult_arity); the input level is plain.
    intervals, degree, domain, outside: of the B-splines; domain is (low, high) for all layers.
    base: base function by name or `Pointwise`, None for none; scaled: also train the spline scale w_s (eq. 2.10).
    inputs: map of the network's inputs: `MinMax(low, high)`, "tanh" or "sigmoid".
    bias: a trained bias for every sum. normalise: map applied to the inputs of every layer but the first
        ("tanh" or "sigmoid").
    affine: trained affine maps of the nodes, any of subnode_scale, subnode_bias, node_scale, node_bias.
    first: "spline", or "linear" for a plain matrix as the first layer (multilevel paper, regression and Burgers).

    Returns the structure; `net.init(seed)` makes a parameter vector.
    """
    if not isinstance(widths, (list, tuple)):
        raise TypeError(f"widths must be a list of levels, as [2, 5, 1], but it is {widths!r}")
    levels = [_level(w, l) for l, w in enumerate(widths)]
    if len(levels) < 2:
        raise ValueError(f"widths must name at least inputs and outputs, as [2, 5, 1], but it is {widths!r}")
    if max(levels[0]) > 1:
        raise ValueError(f"the input level of widths cannot have products, but it is {widths[0]!r}")
    border.choice(first, "first", ("spline", "linear"))
    intervals, degree = border.integer(intervals, "intervals", 1), border.integer(degree, "degree", 0, bases.MAX_DEGREE)
    size = sum(len(below) * sum(arity) for below, arity in zip(levels, levels[1:])) * (intervals + degree)
    if size > MAX_SIZE:
        raise ValueError(
            f"widths {widths!r} with {intervals} intervals make about {size:.1e} parameters; at most {MAX_SIZE:.0e} are allowed"
        )
    try:
        low, high = map(float, domain)
    except (TypeError, ValueError):
        raise TypeError(f"domain must be a pair of numbers (low, high), but it is {domain!r}") from None
    maps = {"inputs": inputs, "normalise": normalise}
    for name, given in maps.items():
        if isinstance(given, str):
            maps[name] = bases.BASE_FUNCTIONS[border.choice(given, name, ("tanh", "sigmoid"))]
    layers = []
    for l, (below, arity) in enumerate(zip(levels, levels[1:])):
        P, S = len(below), sum(arity)
        nodes = Nodes(arity, tuple(affine)) if affine or max(arity) > 1 else None
        if l == 0 and first == "linear":
            layers.append(Layer({"linear": Linear(bases.identity, Full((S, P, 1)))}, bias, maps["inputs"], nodes))
            continue
        basis = BSpline.uniform(P, intervals, degree, low, high, outside)
        options = {
            "base": base,
            "scaled": scaled,
            "bias": bias,
            "normalise": maps["normalise" if l else "inputs"],
            "nodes": nodes,
        }
        layers.append(spline_layer(P, S, basis, **options))
    return KAN(tuple(layers))


MAX_WIDTH = 10**6
MAX_SIZE = 2 * 10**8  # parameters: 1.6 GB, and an optimiser needs several times that


def _level(width, l):
    """Arity of every node of a level: 5 -> (1,)*5, [3, 2] -> (1, 1, 1, 2, 2), [1, [2, 3]] -> (1, 2, 3)."""
    name = f"widths[{l}]"
    if isinstance(width, (list, tuple)):
        if len(width) != 2:
            raise ValueError(f"{name} must be a number or [sums, products], but it is {width!r}")
        sums, products = width
        sums = border.integer(sums, f"sums of {name}", 0, MAX_WIDTH)
        if not isinstance(products, (list, tuple)):
            products = [2] * border.integer(products, f"products of {name}", 0, MAX_WIDTH)
        arity = (1,) * sums + tuple(border.integer(a, f"arity in {name}", 2, 100) for a in products)
        if not arity:
            raise ValueError(f"{name} has no nodes")
        return arity
    return (1,) * border.integer(width, name, 1, MAX_WIDTH)
