"""The special functions of Table 1: values against mpmath or closed forms, ranges that avoid the singularities."""

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref.data.special import TARGETS

EXACT = {  # the same functions by another library, in 30 digits
    "ellipj": lambda u, m: mpmath.ellipfun("sn", u, m=m),
    "ellipkinc": mpmath.ellipf,
    "ellipeinc": mpmath.ellipe,
    "jv": mpmath.besselj,
    "yv": mpmath.bessely,
    "kv": mpmath.besselk,
    "iv": mpmath.besseli,
    **{f"lpmv({m})": lambda v, x, m=m: mpmath.legenp(v, m, x, type=2) for m in (0, 1, 2)},
    **{
        f"sph_harm({m},{n})": lambda azimuth, polar, m=m, n=n: mpmath.spherharm(n, m, polar, azimuth).real
        for m, n in ((0, 1), (1, 1), (0, 2), (1, 2), (2, 2))
    },
}

CLOSED = {  # elementary cases: X -> where they hold, and their values
    "ellipj": lambda x: ((x, 0 * x), np.sin(x)),
    "ellipkinc": lambda x: ((x, 0 * x), x),
    "ellipeinc": lambda x: ((x, 0 * x + 1), np.sin(x)),
    "jv": lambda x: ((0 * x + 0.5, x), np.sqrt(2 / (np.pi * x)) * np.sin(x)),
    "yv": lambda x: ((0 * x + 0.5, x), -np.sqrt(2 / (np.pi * x)) * np.cos(x)),
    "kv": lambda x: ((0 * x + 0.5, x), np.sqrt(np.pi / (2 * x)) * np.exp(-x)),
    "iv": lambda x: ((0 * x + 0.5, x), np.sqrt(2 / (np.pi * x)) * np.sinh(x)),
    "lpmv(0)": lambda x: ((0 * x + 2, x / 2), (3 * (x / 2) ** 2 - 1) / 2),
    "lpmv(1)": lambda x: ((0 * x + 1, x / 2), -np.sqrt(1 - (x / 2) ** 2)),
    "lpmv(2)": lambda x: ((0 * x + 2, x / 2), 3 * (1 - (x / 2) ** 2)),
    "sph_harm(0,1)": lambda x: ((2 * x, x), np.sqrt(3 / (4 * np.pi)) * np.cos(x)),
    "sph_harm(1,1)": lambda x: ((2 * x, x), -np.sqrt(3 / (8 * np.pi)) * np.sin(x) * np.cos(2 * x)),
    "sph_harm(0,2)": lambda x: ((2 * x, x), np.sqrt(5 / (16 * np.pi)) * (3 * np.cos(x) ** 2 - 1)),
    "sph_harm(1,2)": lambda x: ((2 * x, x), -np.sqrt(15 / (8 * np.pi)) * np.sin(x) * np.cos(x) * np.cos(2 * x)),
    "sph_harm(2,2)": lambda x: ((2 * x, x), np.sqrt(15 / (32 * np.pi)) * np.sin(x) ** 2 * np.cos(4 * x)),
}


def test_there_are_the_fifteen_functions_of_the_paper():
    assert list(TARGETS) == list(EXACT) == list(CLOSED) and len(TARGETS) == 15


@pytest.mark.parametrize("name", TARGETS)
def test_values_agree_with_mpmath(name):
    X, y = TARGETS[name].sample(25, seed=1)
    with mpmath.workdps(30):
        exact = [float(EXACT[name](mpmath.mpf(x), mpmath.mpf(z))) for x, z in X.tolist()]
    assert_allclose(y, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", TARGETS)
def test_values_agree_with_elementary_cases(name):
    points, values = CLOSED[name](np.linspace(0.1, 1.5, 15))
    assert_allclose(TARGETS[name].function(np.stack(points, 1)), values, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_values_are_finite_on_the_closed_box(target):
    low, high = np.array(target.ranges).T
    sides = np.linspace(0, 1, 41)
    grid = low + (high - low) * np.stack(np.meshgrid(sides, sides), -1).reshape(-1, 2)
    y = target.function(grid)
    assert y.shape == (41 * 41,) and y.dtype == np.float64
    assert np.isfinite(y).all() and np.ptp(y) > 0.5


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_range_has_its_reason(target):
    assert len(target.names) == target.inputs == 2
    assert "Table 1; range chosen here: " in target.source
