"""Trial functions: a network between an embedding of the coordinates and conditions that hold by construction.

    u(x) = g(x) + d(x) N(e(x); theta)

e, an embedding, gives the network other coordinates: cos(pi x) and sin(pi x) make u periodic, |x| as a further input lets
it have a kink at x = 0 (level set of an interface; Tseng et al., cusp-capturing PINN). d vanishes where u = g is demanded
(Lagaris et al. 1998), so that such conditions are hard and need no loss.

All three are functions of jets, written with `kanref.jets`: the derivatives come along.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from kanref import arrays as border
from kanref import jets
from kanref.network import KAN

PARABOLA = (lambda x: 1 - x**2, lambda x: -2 * x, lambda x: np.full_like(x, -2))


def cap(z):
    """The jet (M, N, 1) of prod_i (1 - z_i^2), which vanishes at z_i = +-1, for a jet z (M, N, n)."""
    return reduce(jets.times, np.split(jets.compose(PARABOLA, z), z.shape[-1], -1))


@dataclass(frozen=True, eq=False)
class Trial:
    """g + d N(e), with the verbs of a network: what `objectives.collocation` and the optimisers see is a network.

    net: a network with as many inputs as `embedding` gives; inputs: the number of coordinates n;
    embedding: jet (M, N, n) -> jet (M, N, net.inputs), None for the identity;
    offset, distance: jets (M, N, n) -> (M, N, m) or (M, N, 1), None for g = 0 and d = 1.
    """

    net: KAN
    inputs: int
    embedding: Callable | None = None
    offset: Callable | None = None
    distance: Callable | None = None

    def __post_init__(self):
        border.integer(self.inputs, "inputs", 1)
        given = self._embedded(np.zeros((1, 1, self.inputs))).shape[-1]
        if given != self.net.inputs:
            raise ValueError(
                f"the network must take the {given} coordinates of the embedding, but it takes {self.net.inputs}; build it "
                f"with widths [{given}, ...]"
            )

    @property
    def outputs(self):
        return self.net.outputs

    @property
    def size(self):
        """Length of theta."""
        return self.net.size

    def _embedded(self, z):
        return z if self.embedding is None else self.embedding(z)

    def __call__(self, theta, x):
        """u at x (N, n): (N, m)."""
        theta = self.net.vector(theta)
        return self.forward(theta, border.points(x, self.inputs, dtype=theta.dtype)[None])[0][0]

    def derivatives(self, theta, x, directions=None):
        """Values (N, m), first (D, N, m) and second (D, N, m) derivatives along directions (D, n), by default the axes."""
        theta = self.net.vector(theta)
        x = border.points(x, self.inputs, dtype=theta.dtype)
        v = np.eye(self.inputs) if directions is None else border.points(directions, self.inputs, "directions")
        return jets.parts(self.forward(theta, jets.seed(x, v))[0])

    def forward(self, theta, z):
        """The jet (M, N, m) of u for the jet z (M, N, n) of the coordinates, and the tape."""
        y, tape = self.net.forward(theta, np.ascontiguousarray(self._embedded(z)))
        d = None
        if self.distance is not None:
            d = np.broadcast_to(self.distance(z), y.shape)
            y = jets.times(y, d)
        if self.offset is not None:
            y = y + self.offset(z)
        return y, (tape, d)

    def pullback(self, theta, tape, y_bar, inputs=False):
        """theta_bar (size,) for y_bar (M, N, m); adjoints of the coordinates do not exist (ValueError for inputs=True)."""
        if inputs:
            raise ValueError("a trial function has no adjoints of its coordinates; inputs must be False")
        tape, d = tape
        return self.net.pullback(theta, tape, self._network_bar(d, y_bar))

    def rows(self, theta, tape, y_bar):
        """(N, size): theta_bar of every sample by itself."""
        tape, d = tape
        return self.net.rows(theta, tape, self._network_bar(d, y_bar))

    def _network_bar(self, d, y_bar):
        return y_bar if d is None else np.ascontiguousarray(jets.times_pullback(d, y_bar))
