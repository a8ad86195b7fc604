"""Boundary-value problems for networks: equation, conditions, points, reference solution, errors.

A `Problem` is the mathematics; what a network is trained on is made of it:

    problem = burgers()                                    one file for each problem
    points = problem.points({"equation": 4096, "initial": 64}, "grid")
    loss = problem.objective(net, points)                  sum over parts of weight * mean |residual|^2
    problem.errors(net, theta)                             relative L2 and largest error against the reference
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kanref import objectives
from kanref.network import KAN
from kanref.pde.sampling import box_points
from kanref.pde.weighting import weighted


@dataclass(frozen=True, eq=False)
class Part:
    """One summand of the loss: the equation itself, or a condition that the network is to meet softly.

    residual, pairs: as for `objectives.collocation`;
    weight: of its mean square in the loss;
    face: {coordinate: value} that the points of the part have fixed, empty for the whole box; a tuple of faces, as the
        sides of a square, shares the points;
    trial: net -> what the residual sees, if that is not the problem's own trial function (one side of an interface).
    """

    name: str
    residual: Callable
    pairs: tuple = ()
    weight: float = 1.0
    face: dict[int, float] | tuple[dict[int, float], ...] = field(default_factory=dict)
    trial: Callable | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """A boundary-value problem on a box.

    equation: in words, for people; parameters: {name: value} it was made with;
    coordinates: names, as ("x", "t"); domain: (low, high) for each;
    parts: the equation first; soft: names of parts that `hard` makes superfluous;
    reference: x (N, n) -> u (N,), by an independent accurate method;
    inputs: what the network takes, if an embedding makes it differ from the number of coordinates;
    trial: net -> `Trial`, None for the network itself; hard: the same with conditions built in, None if there is none.
    """

    name: str
    equation: str
    parameters: dict[str, float]
    coordinates: tuple[str, ...]
    domain: tuple[tuple[float, float], ...]
    parts: tuple[Part, ...]
    reference: Callable
    inputs: int = 0
    trial: Callable | None = None
    hard: Callable | None = None
    soft: tuple[str, ...] = ()

    def points(self, counts, kind="grid", seed=0):
        """{part: points (N, n)} for {part: N}; kind "grid", "random" or "sobol", see `sampling.box_points`."""
        rng = np.random.default_rng(seed)
        self._known(counts, "counts")
        found = {}
        for part in self.parts:
            if part.name in counts:
                faces = part.face if isinstance(part.face, tuple) else (part.face,)
                ends = counts[part.name] * np.arange(len(faces) + 1) // len(faces)
                shares = zip(np.diff(ends).tolist(), faces)
                found[part.name] = np.concatenate([box_points(self.domain, n, kind, rng, face) for n, face in shares])
        return found

    def function(self, net: KAN, hard=False):
        """What stands for u: the network, or its trial function; with `hard`, the one with conditions built in."""
        if hard and self.hard is None:
            raise ValueError(f"{self.name} has no hard conditions; leave hard=False")
        build = self.hard if hard else self.trial
        return net if build is None else build(net)

    def objective(self, net, points, hard=False, weights=None):
        """The loss: sum over parts of weight * mean(w |residual|^2) at {part: points}.

        weights: {part: w} of single points, w (N,) or a weighting that follows the residuals (see `weighting`);
        hard: conditions by construction, their soft parts are left out. Parts without points are left out too.
        """
        self._known(points, "points")
        self._known(weights or {}, "weights")
        u, terms = self.function(net, hard), []
        for part in self.parts:
            if part.name in points and not (hard and part.name in self.soft):
                seen, w = part.trial(net) if part.trial else u, (weights or {}).get(part.name)
                terms.append((part.weight, weighted(seen, points[part.name], part.residual, part.pairs, w)))
        return objectives.weighted_sum(terms)

    def _known(self, given, name):
        if unknown := set(given) - {part.name for part in self.parts}:
            names = ", ".join(part.name for part in self.parts)
            raise ValueError(f"{name} has {', '.join(sorted(unknown))}, but the parts of {self.name} are {names}")

    def residual(self, net, theta, x, hard=False):
        """The residual (N, R) of the equation at points x (N, n)."""
        equation = self.parts[0]
        u = self.function(net, hard)
        return objectives.collocation(u, x, equation.residual, equation.pairs).residual_values(theta)

    def mesh(self, count):
        """Points (count^n, n) of an even grid of the box, sides included, last coordinate fastest."""
        axes = [np.linspace(low, high, count) for low, high in self.domain]
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))

    def errors(self, net, theta, x=None, hard=False):
        """Relative L2 error |u - u*|/|u*| and largest error of u at points x, by default an even grid of 101 each way."""
        x = self.mesh(101) if x is None else x
        exact = self.reference(x)
        difference = self.function(net, hard)(theta, x)[:, 0] - exact
        return float(np.linalg.norm(difference) / np.linalg.norm(exact)), float(np.abs(difference).max())


# ------------------------------------------------------------------------------------------------- for problem files


def dirichlet(g=None):
    """The residual of the condition u = g(x), g: points (N, n) -> (N,), or u = 0."""

    def residual(x, u, u_i, u_ij):
        return u[:, 0] - (0.0 if g is None else g(x)), (np.ones_like(u), None, None)

    return residual


def positive(value, name):
    """A parameter as a float; ValueError unless it is finite and above 0."""
    value = float(value)
    if not 0 < value < np.inf:
        raise ValueError(f"{name} must be above 0, but it is {value:g}")
    return value


def within(value, name, low, high):
    """A parameter as a float; ValueError unless it lies in [low, high], where the reference solution is accurate."""
    value = float(value)
    if not low <= value <= high:
        raise ValueError(
            f"{name} must lie in [{low:g}, {high:g}], but it is {value:g}; the reference solution is accurate only there"
        )
    return value
