"""Edges that are formulas: the term  y_q = sum over its edges (q, p) of  c f(a x_p + b) + d,  a, b, c, d trained.

Liu et al., section 2.5.1: once an edge has been recognised, only its affine parameters remain. A `Symbolic` term is a
term like any other, jets and all, so that a network of splines and formulas trains, refines and solves PDEs.
"""

from dataclasses import dataclass

import numpy as np

from kanref import jets
from kanref.arrays import integer
from kanref.functions import Function


@dataclass(frozen=True, eq=False)
class Symbolic:
    """Some edges of a layer of `shape` (Q, P): formulas, triples (q, p, Function), at most one for each (q, p).

    The one array "affine", (formulas, 4), has the rows (a, b, c, d).

    Where a sample lies on a branch point, as sqrt's 0, the slope is infinite and no step can follow it: the sample passes
    nothing back to x there, and a and b stay as they are, their adjoints are 0.
    """

    shape: tuple[int, int]
    formulas: tuple[tuple[int, int, Function], ...]

    def __post_init__(self):
        Q, P = (integer(size, f"{name} of shape", 1) for size, name in zip(self.shape, ("out", "in")))
        if not self.formulas:
            raise ValueError("formulas must name at least one (q, p, Function), but it is empty; leave the term away")
        for edge in self.formulas:
            if len(edge) != 3 or not isinstance(edge[2], Function):
                raise TypeError(f"formulas must be (q, p, Function), but one is {edge!r}; see kanref.functions.LIBRARY")
        formulas = tuple((integer(q, "q", 0, Q - 1), integer(p, "p", 0, P - 1), f) for q, p, f in self.formulas)
        places = [(q, p) for q, p, _ in formulas]
        if len(set(places)) < len(places):
            raise ValueError(f"formulas must name each edge (q, p) once, but they are at {sorted(places)}")
        object.__setattr__(self, "shape", (Q, P))
        object.__setattr__(self, "formulas", formulas)

    @property
    def arrays(self):
        return {"affine": (len(self.formulas), 4)}

    def start(self, rng):
        """c f(a x + b) + d begins as f(x)."""
        return {"affine": np.tile([1.0, 0.0, 1.0, 0.0], (len(self.formulas), 1))}

    def _values(self, arrays, z):
        """For every formula: q, p and the jet (M, N) of c f(u) + d at u = a z + b."""
        for (q, p, f), (a, b, c, d) in zip(self.formulas, arrays["affine"]):
            u = affine(z[..., p : p + 1], a, b)
            yield q, p, affine(jets.lift(table(f, u, jets.order(u)), u)[..., 0, 0], c, d)

    @np.errstate(invalid="ignore", over="ignore")  # derivatives may be infinite, and what is infinite may cancel
    def forward(self, arrays, z):
        """Jet z (M, N, P) -> jet y (M, N, Q)."""
        y = np.zeros((*z.shape[:2], self.shape[0]), z.dtype)
        for q, _, value in self._values(arrays, z):
            y[..., q] += value
        return y

    def _adjoints(self, arrays, z, y_bar):
        """For every formula, from the adjoint y_bar[q, p] (M, N) of its value: adjoints of (a, b, c, d) by sample, (N, 4),
        and p with the adjoint of the input x_p, (M, N)."""
        for (q, p, f), (a, b, c, _) in zip(self.formulas, arrays["affine"]):
            x, v_bar = z[..., p : p + 1], y_bar(q, p)[..., None]
            u = affine(x, a, b)
            t = table(f, u, jets.order(u) + 1)
            branch = np.isinf(t[-1]) & np.isfinite(t[-2])
            t[-1, branch] = 0
            u_bar = jets.lift_pullback(t, u, c * v_bar[..., None])
            own = (u_bar * x).sum(0), u_bar[0], (jets.lift(t, u)[..., 0] * v_bar).sum(0), v_bar[0]
            rows = np.concatenate(own, 1)
            if branch.any():
                rows[:, :2] = 0
            yield rows, p, a * u_bar[..., 0]

    @np.errstate(invalid="ignore", over="ignore")
    def _sums(self, arrays, z, y_bar, inputs):
        affine_bar, z_bar = np.empty_like(arrays["affine"]), np.zeros_like(z) if inputs else None
        for e, (rows, p, x_bar) in enumerate(self._adjoints(arrays, z, y_bar)):
            affine_bar[e] = rows.sum(0)
            if inputs:
                z_bar[..., p] += x_bar
        return {"affine": affine_bar}, z_bar

    def pullback(self, arrays, z, y_bar, inputs=True):
        return self._sums(arrays, z, lambda q, p: y_bar[..., q], inputs)

    @np.errstate(invalid="ignore", over="ignore")
    def rows(self, arrays, z, y_bar):
        each = self._adjoints(arrays, z, lambda q, p: y_bar[..., q])
        return {"affine": np.stack([rows for rows, _, _ in each], 1)}

    @np.errstate(invalid="ignore", over="ignore")
    def edges(self, arrays, x):
        """c f(a x_p + b) + d where there is a formula, 0 elsewhere: (N, Q, P)."""
        phi = np.zeros((len(x), *self.shape), x.dtype)
        for q, p, value in self._values(arrays, x[None]):
            phi[:, q, p] = value[0]
        return phi

    def edges_pullback(self, arrays, x, phi_bar):
        """Adjoints of `edges` for phi_bar (N, Q, P): {"affine": ...} and x_bar (N, P)."""
        arrays_bar, z_bar = self._sums(arrays, x[None], lambda q, p: phi_bar[None, :, q, p], True)
        return arrays_bar, z_bar[0]

    def select(self, arrays, outputs, inputs):
        """The formulas between some outputs and inputs, and their arrays; None and {} if there is none."""
        q_new, p_new = ({int(old): new for new, old in enumerate(kept)} for kept in (outputs, inputs))
        kept = [e for e, (q, p, _) in enumerate(self.formulas) if q in q_new and p in p_new]
        if not kept:
            return None, {}
        formulas = tuple((q_new[q], p_new[p], f) for q, p, f in (self.formulas[e] for e in kept))
        return Symbolic((len(q_new), len(p_new)), formulas), {"affine": arrays["affine"][kept]}


def affine(z, scale, shift):
    """The jet of scale z + shift."""
    y = scale * z
    y[0] += shift
    return y


def table(f, u, order):
    """f and its derivatives at the values of a jet u (M, N, 1), as a basis of one function: (order + 1, N, 1, 1)."""
    return f.derivatives(u[0], order)[..., None]
