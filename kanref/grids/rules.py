"""Knots from samples, by named rules.

Every rule sorts the samples of an input and blends two grids over their range,

    grid = mix uniform + (1 - mix) adaptive,

with knots of equal distance in the uniform one and equally many samples between the knots of the adaptive one, and
continues the result by `degree` knots of one step on both sides. They differ in these places:

| rule        | mix  | margin on both sides  | adaptive grid                          | step outside          |
|-------------|------|-----------------------|----------------------------------------|-----------------------|
| "kanref"    | 1    | 1 % of the range      | quantiles, no span below h/11          | mean step             |
| "pykan"     | 0.02 | none                  | sorted x[int(N/G i)], i < G; last      | mean step             |
| "pykan-0.0" | 1    | 0.01 (uniform part)   | as pykan                               | mean step             |
| "jaxkan"    | 0.05 | 0.01 (uniform part)   | as pykan                               | mean step             |
| "efficient" | 0.02 | 0.01 (uniform part)   | sorted x[int((N-1)/G i)], i <= G       | step of uniform part  |

"pykan" is pykan 0.2.8, "pykan-0.0" the release of the paper, "jaxkan" jaxKAN 0.3.7, "efficient" efficient-kan 7b6ce1c.
Those four do what the libraries do: tied samples give empty spans, a constant input an empty domain or one as wide as
the margins, and an absolute margin is none at all for large numbers. "kanref" differs where that hurts:

  * uniform unless asked otherwise: uniform rows keep every span of the domain at one resolution, refine by two-scale
    rows and are evaluated without a search; choose mix < 1 where samples crowd in a small part of their range;
  * the margin is relative, so every sample lies inside the domain in any unit;
  * quantiles interpolate and are symmetric, where index rules put the tail of the samples into the last span;
  * spans shorter than a tenth of the uniform h are widened to it and all spans scaled back to the range: tied or
    discrete samples give no empty span;
  * an input that is constant to rounding (range <= sqrt(eps) max|x|, eps of the samples' dtype) gets a domain of width
    max(1, 10 sqrt(eps) max|x|) around it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kanref.arrays import choice, integer, real_array
from kanref.bases import MAX_DEGREE

MARGIN = 0.01  # of the range, on both sides
SHORTEST = 0.1  # of the uniform step: spans of the adaptive grid are at least this long before scaling


def knots_from_samples(x, intervals, degree, rule="kanref", mix=None):
    """New rows of knots (P, intervals + 2 degree + 1) for samples x (N, P); the rules are described above.

    mix: weight of the uniform grid, in [0, 1]; None for the rule's own.
    Raises ValueError for an unknown rule, a mix outside [0, 1], or samples that are no finite (N, P) array.
    """
    x = real_array(x, "x")
    if x.ndim != 2 or x.shape[0] == 0:
        raise ValueError(
            f"x must have shape (samples, inputs) with at least one sample, but it has shape {x.shape}; "
            "put samples in rows"
        )
    G, degree = integer(intervals, "intervals", 1, 10**7), integer(degree, "degree", 0, MAX_DEGREE)
    rule = RULES[choice(rule, "rule", tuple(RULES))]
    mix = rule.mix if mix is None else mix
    if not 0 <= mix <= 1:
        raise ValueError(f"mix must be from 0 (adaptive) to 1 (uniform), but it is {mix!r}")
    low, high, adaptive = rule.grid(x, G)
    step = (high - low) / G
    uniform = low[:, None] + step[:, None] * np.arange(G + 1)
    grid = uniform if mix == 1 else mix * uniform + (1 - mix) * adaptive
    step = (step if rule.uniform_step else (grid[:, -1] - grid[:, 0]) / G)[:, None]
    outer = step * np.arange(1, degree + 1)
    return np.hstack([grid[:, :1] - outer[:, ::-1], grid, grid[:, -1:] + outer])


@dataclass(frozen=True)
class Rule:
    """grid(x (N, P), G) -> low (P,), high (P,) of the uniform grid, adaptive (P, G+1); uniform_step: continues both."""

    mix: float
    grid: Callable
    uniform_step: bool = False


def _by_index(index, margin):
    """The adaptive grid x[index(N, G)] of the sorted samples, as the other libraries have it."""

    def grid(x, G):
        x = np.sort(x.astype(np.float64), 0)
        return x[0] - margin, x[-1] + margin, x[index(len(x), G)].T

    return grid


def _floor_index(N, G):
    return np.append((N / G * np.arange(G)).astype(int), N - 1)


def _linspace_index(N, G):
    return np.linspace(0, N - 1, G + 1).astype(int)


def _quantiles(x, G):
    """Domain and adaptive grid of "kanref"."""
    small = np.sqrt(np.finfo(x.dtype).eps)
    x = x.astype(np.float64)
    least, most = x.min(0), x.max(0)
    largest = np.maximum(np.abs(least), np.abs(most))
    constant = most - least <= small * largest
    half = np.where(constant, np.maximum(1, 10 * small * largest) / 2, (0.5 + MARGIN) * (most - least))
    centre = least / 2 + most / 2
    low, high = centre - half, centre + half
    grid = np.quantile(x, np.arange(G + 1) / G, axis=0).T
    grid[:, 0], grid[:, -1] = low, high
    spans = np.maximum(np.diff(grid), SHORTEST * (high - low)[:, None] / G)
    ends = np.cumsum(spans, 1) * ((high - low) / spans.sum(1))[:, None]
    return low, high, low[:, None] + np.hstack([np.zeros((len(low), 1)), ends])


RULES = {
    "kanref": Rule(1.0, _quantiles),
    "pykan": Rule(0.02, _by_index(_floor_index, 0.0)),
    "pykan-0.0": Rule(1.0, _by_index(_floor_index, 0.01)),
    "jaxkan": Rule(0.05, _by_index(_floor_index, 0.01)),
    "efficient": Rule(0.02, _by_index(_linspace_index, 0.01), uniform_step=True),
}
