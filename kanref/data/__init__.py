"""Data sets by name: the functions and problems of the KAN paper's experiments.

    target = data.special.TARGETS["jv"]
    X, y = target.sample(1000, seed=0)
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from kanref import arrays as border


@dataclass(frozen=True)
class Target:
    """A function to learn on a box.

    formula: text; function: X (N, n) -> y (N,); ranges: (low, high) for every input; names: of the inputs; source: where
    formula and ranges come from, and what was chosen here.
    """

    name: str
    formula: str
    function: Callable = field(repr=False)
    ranges: tuple[tuple[float, float], ...]
    names: tuple[str, ...] = ()
    source: str = field(default="", repr=False)

    @property
    def inputs(self):
        return len(self.ranges)

    def sample(self, n, seed=0):
        """X (n, inputs) uniform in the box, and y (n,); `seed` is an integer or a `numpy.random.Generator`."""
        border.integer(n, "n", 1)
        low, high = np.array(self.ranges, float).T
        X = np.random.default_rng(seed).uniform(low, high, (n, self.inputs))
        return X, self.function(X)
