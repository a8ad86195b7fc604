"""Points in a box: even grids, random and Sobol points, and those that are added where the residual is large."""

import math

import numpy as np

from kanref.arrays import choice, integer, points, real_array


def box_points(domain, count, kind="grid", rng=None, face=None):
    """Points (N, n) in a box with some coordinates fixed.

    domain: (low, high) for each coordinate; face: {coordinate: value};
    kind: "grid", even, ends included, with as many points each way as gives at most `count` in all; "random", uniform;
        "sobol", scrambled Sobol points. N = count for the last two. rng: a Generator, for those.
    A face that fixes everything is one point, whatever the kind.
    """
    integer(count, "count", 1)
    choice(kind, "kind", ("grid", "random", "sobol"))
    face = face or {}
    free = [i for i in range(len(domain)) if i not in face]
    low, high = np.array([domain[i] for i in free], float).reshape(-1, 2).T
    if not free:
        inner = np.empty((1, 0))
    elif kind == "grid":
        each = max(1, math.floor(count ** (1 / len(free)) + 1e-9))
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


def add_largest(x, pool, r, count):
    """Points x (N, n) and, below them, the `count` points of a pool (M, n) where |r| is largest, the largest first.

    r: residuals (M,) or (M, R) at the pool. Residual-based adaptive refinement (RAR; Lu et al. 2021, DeepXDE, section 2.8).
    """
    pool, e = _sizes(pool, r)
    x, count = points(x, pool.shape[1]), integer(count, "count", 1, len(pool))
    return np.concatenate([x, pool[np.argsort(-e, kind="stable")[:count]]])


def draw(pool, r, count, rng, power=1.0, offset=1.0):
    """`count` different points of a pool (M, n), drawn with probabilities proportional to

        |r|^power / mean(|r|^power) + offset.

    r: residuals (M,) or (M, R) at the pool; rng: a Generator. Residual-based adaptive distribution (RAD; Wu et al. 2023,
    eq. 2), whose defaults these are: power 0 or a large offset is uniform, a large power only sees the peaks.
    """
    pool, e = _sizes(pool, r)
    count = integer(count, "count", 1, len(pool))
    if not (0 <= power < np.inf and 0 <= offset < np.inf):
        raise ValueError(f"power and offset must not be negative, but they are {power} and {offset}")
    density = (e / (e.max() or 1.0)) ** power
    density = density / (density.mean() or 1.0) + offset
    if np.count_nonzero(density) < count:
        raise ValueError(
            f"count is {count}, but |r| > 0 at {np.count_nonzero(density)} points of the pool only; give an offset above 0"
        )
    return pool[rng.choice(len(pool), count, replace=False, p=density / density.sum())]


def _sizes(pool, r):
    """The pool (M, n) and |r| (M,)."""
    pool, r = real_array(pool, "pool"), real_array(r, "r", np.float64)
    if pool.ndim != 2 or r.ndim not in (1, 2) or len(r) != len(pool):
        raise ValueError(
            f"pool must be points (M, n) and r the residuals there, (M,) or (M, R), but they have shapes {pool.shape} and "
            f"{r.shape}"
        )
    return pool, np.abs(r) if r.ndim == 1 else np.linalg.norm(r, axis=1)
