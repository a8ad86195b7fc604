"""The Feynman formulas of Table 2: values against their formula text in mpmath, ranges that avoid the singularities."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref.data.feynman import TARGETS

KNOWN = {  # (inputs, value): physics that the formula must give
    "I.6.2": ((0.0, 1.0), 1 / np.sqrt(2 * np.pi)),  # height of the normal density
    "I.6.2b": ((0.3, 0.3, 0.5), 2 / np.sqrt(2 * np.pi)),
    "I.9.18": ((1.0, 2.0, 1.0, -1.0, 2.0, 0.0), 1 / 9),  # distance (1, 2, 2)
    "I.12.11": ((0.5, np.pi / 2), 1.5),
    "I.13.12": ((3.0, 1.0), 0.0),  # no work between equal radii
    "I.15.3x": ((-1.0, 0.6), 2.5),  # gamma = 5/4
    "I.16.6": ((0.8, -0.8), 0.0),
    "I.18.4": ((1.0, -1.0), 0.0),  # equal masses at opposite places
    "I.26.2": ((0.5, np.pi / 2), np.pi / 6),
    "I.27.6": ((1.0, 1.0), 0.5),
    "I.29.16": ((1.0, 0.0, np.pi), 2.0),  # opposite ends of a diameter
    "I.30.3": ((2.0, np.pi / 2), 2.0),  # two slits: 4 cos^2(theta/2)
    "I.30.5": ((1.0, 1.0), np.pi / 2),
    "I.37.4": ((1.0, 0.0), 4.0),  # equal waves in phase
    "I.40.1": ((1.0, np.log(2)), 0.5),
    "I.44.4": ((1.0, np.e), 1.0),
    "I.50.26": ((np.pi, 1.0), 0.0),
    "II.2.42": ((1.0, 2.0), 0.0),  # no heat flows at equal temperatures
    "II.6.15a": ((0.6, 0.8, np.pi), 0.25),
    "II.11.7": ((1.0, 2.0, np.pi / 2), 1.0),
    "II.11.27": ((1.0, 1.5), 3.0),
    "II.35.18": ((1.0, 0.0), 0.5),
    "II.36.38": ((1.0, 0.5, 4.0), 3.0),
    "II.38.3": ((1.0, 0.5), 2.0),
    "III.9.52": ((1.5, 2.0, 2.0), 1.5),  # on resonance, where the formula reads 0/0
    "III.10.19": ((1.0, -1.0), np.sqrt(3)),
    "III.17.37": ((0.5, 1.0, np.pi), 0.0),
}


def test_there_are_the_twenty_seven_formulas_of_the_paper():
    assert list(TARGETS) == list(KNOWN) and len(TARGETS) == 27


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_values_agree_with_the_formula_text(target):
    X, y = target.sample(25, seed=1)
    with mpmath.workdps(30):
        exact = [
            float(eval(target.formula, vars(mpmath).copy(), dict(zip(target.names, map(mpmath.mpf, x)))))
            for x in X.tolist()
        ]
    assert_allclose(y, exact, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TARGETS)
def test_values_agree_with_physics(name):
    inputs, value = KNOWN[name]
    assert_allclose(TARGETS[name].function(np.array([inputs])), [value], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_values_are_finite_on_the_closed_box(target):
    n = target.inputs
    low, high = np.array(target.ranges).T
    sides = np.linspace(0, 1, 3 if n == 6 else 21)
    grid = low + (high - low) * np.stack(np.meshgrid(*[sides] * n), -1).reshape(-1, n)
    y = target.function(np.concatenate([grid, target.sample(1000, seed=2)[0]]))
    assert y.dtype == np.float64 and np.isfinite(y).all() and np.ptp(y) > 0.1


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_range_has_its_reason(target):
    assert len(target.names) == target.inputs >= 2
    reason = target.source.removeprefix("Liu et al., Table 2; ranges: ")
    assert any(word in reason for word in ("pykan", "quotient", "ratio", "chosen", "velocity", "weaker"))
