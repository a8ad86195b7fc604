"""Which difference is fair: certified rounding errors where bounds are known, else a multiple of machine epsilon."""

from dataclasses import dataclass, replace

import numpy as np

from kanref.bounds import Through, after
from kanref.intervals import Interval
from kanref.terms import Linear

ULPS = 1000  # of the largest value, where no bounds are known
EDGES = 2**12  # of a network that is bounded; more take too long
LARGEST = 2**24  # edges times samples, likewise
PART = 2**20  # of them at a time
JUMP = 2.0**-20  # a larger share of the largest value is no rounding of float64 but a jump


@dataclass(frozen=True, eq=False)
class Tolerance:
    """What two networks of one function may differ by if both are computed in `dtype`, the coarser of theirs.

    sides: the networks (`Own`), one for each side; given: a share of the largest value instead, or None; certified: whether
    bounds are used, which hold for every sample by itself. They allow for a jump where x may be rounded over one; but float64
    inputs of both sides are the same numbers, so that there epsilon counts.
    """

    sides: tuple
    dtype: type
    given: float | None = None
    certified: bool = True

    def __str__(self):
        if self.given is not None:
            return f"{self.given:g} of the largest value, as asked"
        name = np.dtype(self.dtype).name
        if self.certified:
            return f"certified rounding errors of both sides in {name} (kanref.bounds), sample by sample"
        return f"{ULPS} units of {name}'s epsilon times the largest value; no bounds are known for such networks, or not soon"

    def local(self, l, z, y, nodes=True):
        """(N, Q), for what layer l makes, y, of mapped inputs z: its nodes or its sums."""
        if not self.bounded:
            return self._share(y)
        parts = []
        for side in self.sides:
            layer = replace(side.net.layers[l], normalise=None)
            parts.append(self._through(side, [replace(layer, nodes=layer.nodes if nodes else None)], [side.arrays[l]], z))
        return sum(parts)

    def whole(self, x, y):
        """(N, m), for the outputs y at inputs x, a pair of arrays, one for each side."""
        if not self.bounded:
            return self._share(y)
        return sum(self._through(side, side.net.layers, side.arrays, own) for side, own in zip(self.sides, x))

    @property
    def bounded(self):
        return self.given is None and self.certified

    def _share(self, y):
        size = np.abs(y[np.isfinite(y)]).max(initial=0)
        share = ULPS * float(np.finfo(self.dtype).eps) if self.given is None else self.given
        return np.full(y.shape, share * float(size or 1))

    def _through(self, side, layers, arrays, x):
        unit = float(np.finfo(self.dtype).eps)
        x, found = np.asarray(x, float), []
        step = max(1, PART // max(layer.sums * layer.inputs for layer in layers))
        for own in np.split(x, range(step, len(x), step)):
            exact = side.dtype == self.dtype == np.float64
            with np.errstate(invalid="ignore", over="ignore"):
                error = np.zeros(own.shape) if exact else unit * np.abs(own)
                state = Through(Interval.of(own), Interval.of(np.zeros((*own.shape, 1))), error)
                for l, (layer, values) in enumerate(zip(layers, arrays)):
                    state = after(layer, {name: a.astype(float) for name, a in values.items()}, state, unit)
                    if exact and l == 0:
                        size = state.value.magnitude.max()
                        state = replace(state, error=np.where(state.error > JUMP * size, ULPS * unit * size, state.error))
            found.append(state.error)
        return np.concatenate(found)


def fair(sides, x, dtype, given=None):
    """The `Tolerance` for networks `sides` on samples x, a pair: certified if bounds are known and the networks are not
    too large."""
    found, layers = Tolerance(sides, dtype, given), [layer for side in sides for layer in side.net.layers]
    linear = all(isinstance(term, Linear) for layer in layers for term in layer.terms.values())
    edges = max(sum(layer.sums * layer.inputs for layer in side.net.layers) for side in sides)
    if not linear or edges > EDGES or edges * len(x[0]) > LARGEST:
        return replace(found, certified=False)
    try:
        found.whole([own[:1] for own in x], np.zeros((1, sides[0].net.outputs)))
    except TypeError:
        return replace(found, certified=False)
    return found
