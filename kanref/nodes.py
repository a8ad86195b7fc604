"""Nodes: what follows the sum of a layer's edges. Affine subnodes, product nodes, affine nodes (KAN 2.0, pykan 0.2.8).

With sums u_1..u_S (S = sum of the arities):

    u <- subnode_scale u + subnode_bias,
    v_q = u_s                                if node q has arity 1 (a sum node),
    v_q = u_s u_{s+1} ... u_{s+arity-1}      otherwise (a product of its consecutive subnodes),
    v <- node_scale v + node_bias.
"""

from dataclasses import dataclass, field

import numpy as np

from kanref import jets
from kanref.arrays import integer, real_array

AFFINE = ("subnode_scale", "subnode_bias", "node_scale", "node_bias")


@dataclass(frozen=True, eq=False)
class Nodes:
    """arity: subnodes of every node, in order; 1 is a sum node.

    constants: {name: vector} for the affine maps that are frozen; trained: names of those that are trained. An affine map
    named in neither is the identity. Names: subnode_scale, subnode_bias (length sum(arity)), node_scale, node_bias
    (length len(arity)).
    """

    arity: tuple[int, ...]
    trained: tuple[str, ...] = ()
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        arity = tuple(integer(a, "arity", 1) for a in self.arity)
        if not arity:
            raise ValueError("arity must name at least one node, but it is empty")
        for name in (*self.trained, *self.constants):
            if name not in AFFINE:
                raise ValueError(f"affine maps are named {', '.join(AFFINE)}, but got {name!r}")
        if both := set(self.trained) & set(self.constants):
            raise ValueError(f"{', '.join(sorted(both))} cannot be trained and constant at once; name it in one place")
        constants = {name: real_array(a, name, np.float64).copy() for name, a in self.constants.items()}
        for name, a in constants.items():
            if a.shape != self._length(name):
                raise ValueError(f"{name} must have shape {self._length(name)}, but it has shape {a.shape}")
            a.flags.writeable = False
        object.__setattr__(self, "arity", arity)
        object.__setattr__(self, "constants", constants)

    def _length(self, name):
        return (sum(self.arity),) if name.startswith("sub") else (len(self.arity),)

    @property
    def arrays(self):
        """{name: shape} of what is trained."""
        return {name: self._length(name) for name in AFFINE if name in self.trained}

    @property
    def sums(self):
        """S, the outputs that the layer's terms must have."""
        return sum(self.arity)

    def start(self):
        """Trained maps begin as the identity."""
        return {name: np.full(shape, float(name.endswith("scale"))) for name, shape in self.arrays.items()}

    def subnodes(self, nodes):
        """Indices of all subnodes of some nodes, in order."""
        ends = np.cumsum(self.arity)
        return np.array([s for q in nodes for s in range(ends[q] - self.arity[q], ends[q])], np.int64)

    def select(self, arrays, nodes):
        """Some of the nodes with all their subnodes: nodes, arrays."""
        own = {name: self.subnodes(nodes) if name.startswith("sub") else nodes for name in AFFINE}
        constants = {name: a[own[name]] for name, a in self.constants.items()}
        kept = {name: arrays[name][own[name]] for name in self.arrays}
        return Nodes(tuple(self.arity[q] for q in nodes), self.trained, constants), kept

    def constant(self, arrays, u, fixed):
        """Which nodes never change when the sums u (S,) do not where `fixed` (S,): all their factors are, or one is and is 0."""
        starts = np.cumsum((0, *self.arity[:-1]))
        zero = fixed & (self._affine(arrays, "subnode", u[None, None])[0, 0] == 0)
        return np.logical_and.reduceat(fixed, starts) | np.logical_or.reduceat(zero, starts)

    def _affine(self, arrays, level, u):
        scale, bias = (
            arrays.get(f"{level}_{kind}", self.constants.get(f"{level}_{kind}")) for kind in ("scale", "bias")
        )
        if scale is not None:
            u = u * scale.astype(u.dtype, copy=False)
        if bias is not None:
            u = np.concatenate([u[:1] + bias.astype(u.dtype, copy=False), u[1:]])
        return u

    def _affine_pullback(self, arrays, level, u, y_bar):
        """Adjoints of `_affine`, those of the parameters by sample: {name: (N, size)}, u_bar."""
        rows, scale = {}, f"{level}_scale"
        if scale in self.trained:
            rows[scale] = (u * y_bar).sum(0)
        if f"{level}_bias" in self.trained:
            rows[f"{level}_bias"] = y_bar[0]
        factor = arrays.get(scale, self.constants.get(scale))
        return rows, y_bar if factor is None else y_bar * factor.astype(u.dtype, copy=False)

    def forward(self, arrays, u):
        """Jet u (M, N, S) of the sums -> jet (M, N, Q) of the nodes."""
        return self._affine(arrays, "node", self._multiply(self._affine(arrays, "subnode", u)))

    def _multiply(self, u):
        if max(self.arity) == 1:
            return u
        v, s = [], 0
        for factors in self.arity:
            product = u[..., s : s + 1]
            for j in range(1, factors):
                product = jets.times(product, u[..., s + j : s + j + 1])
            v.append(product)
            s += factors
        return np.concatenate(v, -1)

    def _multiply_pullback(self, u, v_bar):
        """The adjoint of each factor is multiplied by the product of all others."""
        if max(self.arity) == 1:
            return v_bar
        u_bar, s = np.empty_like(u), 0
        for q, factors in enumerate(self.arity):
            own = range(s, s + factors)
            for i in own:
                adjoint = v_bar[..., q : q + 1]
                for j in own:
                    if j != i:
                        adjoint = jets.times_pullback(u[..., j : j + 1], adjoint)
                u_bar[..., i : i + 1] = adjoint
            s += factors
        return u_bar

    def pullback_rows(self, arrays, u, y_bar):
        """Adjoints of `forward`: parameters by sample {name: (N, size)}, and u_bar (M, N, S)."""
        inner = self._affine(arrays, "subnode", u)
        node_rows, v_bar = self._affine_pullback(arrays, "node", self._multiply(inner), y_bar)
        subnode_rows, u_bar = self._affine_pullback(arrays, "subnode", u, self._multiply_pullback(inner, v_bar))
        return {**subnode_rows, **node_rows}, u_bar
