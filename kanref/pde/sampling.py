"""Points in a box: even grids, random and Sobol points, and those that are added where the residual is large."""

import math

import numpy as np

from kanref.arrays import choice, integer


def box_points(domain, count, kind="grid", rng=None, face=None):
    """Points (N, n) in a box with some coordinates fixed.

    domain: (low, high) for each coordinate; face: {coordinate: value};
    kind: "grid", even, ends included, with as many points each way as gives at most `count` in all; "random", uniform;
        "sobol", scrambled Sobol points. N = count for the last two. rng: a Generator, for those.
    """
    integer(count, "count", 1)
    choice(kind, "kind", ("grid", "random", "sobol"))
    face = face or {}
    free = [i for i in range(len(domain)) if i not in face]
    low, high = np.array([domain[i] for i in free], float).reshape(-1, 2).T
    if kind == "grid":
        each = max(1, math.floor(count ** (1 / max(len(free), 1)) + 1e-9))
        axes = [np.linspace(a, b, each) if each > 1 else np.array([(a + b) / 2]) for a, b in zip(low, high)]
        inner = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(free))
    elif kind == "random":
        inner = rng.uniform(low, high, (count, len(free)))
    else:
        from scipy.stats.qmc import Sobol

        inner = low + (high - low) * Sobol(len(free), rng=rng).random_base2(max(0, math.ceil(math.log2(count))))[:count]
    x = np.empty((len(inner), len(domain)))
    x[:, free] = inner
    for i, value in face.items():
        x[:, i] = value
    return x
