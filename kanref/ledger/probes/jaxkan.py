"""jaxKAN, asked by its own functions."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxkan.layers.Chebyshev import ChebyshevLayer
from jaxkan.layers.Spline import SplineLayer
from jaxkan.layers.utils import solve_full_lstsq
from jaxkan.models.KAN import KAN

GIVEN = {"type": "custom", "c_basis": jnp.zeros(1), "c_res": jnp.zeros(1)}  # nothing is drawn: arrays follow


def layer_on(knots, coefficients=None, degree=3, **options):
    """A SplineLayer of one input and one output, in the precision that is switched on, without residual and scales."""
    parts = {"residual": None, "external_weights": False, "add_bias": False, "init_scheme": GIVEN}
    made = SplineLayer(1, 1, degree, len(knots) - 2 * degree - 1, **parts, **options)
    made.grid.item = jnp.asarray(knots, float)[None]
    if coefficients is not None:
        made.c_basis = nnx.Param(jnp.asarray(coefficients)[None, None])
    return made


def splines(layer, x):
    """(N, functions)"""
    return np.asarray(layer.basis(jnp.asarray(x, float)[:, None])[:, 0])


def uniform(intervals):
    return np.arange(-3, intervals + 4) * 2 / intervals - 1


def size(a):
    return float(np.abs(a).max())


def b1():
    with jax.enable_x64(True):
        B = splines(layer_on([0, 0, 0, 0, 0.5, 1, 1, 1, 1]), [0, 0.25, 0.75, 1])
    return {"row sums": B.sum(1), "at 1/4": B[1]}


def b2():
    with jax.enable_x64(True):
        layer = layer_on(uniform(5), np.sin(np.arange(8)), grid_e=0.0)
        layer.update_grid(jnp.asarray(np.sort(np.append(np.linspace(-1, 1, 21), np.zeros(20))))[:, None], 5)
        return {"row sums": splines(layer, [-0.5, -0.1, 0.1, 0.5]).sum(1)}


def b3():
    try:
        built = bool(jnp.isfinite(SplineLayer(1, 1, 0, 4)(jnp.ones((1, 1)))).all())
    except Exception:
        built = False
    return {"built": built, "sum at the end": splines(layer_on(np.linspace(-1, 1, 5), degree=0), [1.0]).sum()}


def b9():
    samples = np.random.default_rng(58).uniform(-1, 1, 100)
    with jax.enable_x64(True):
        coarse, fine = layer_on(uniform(7)), layer_on(uniform(50))
        wave, x = np.sin(np.arange(10)), np.linspace(-1, 1, 2001)
        y = jnp.asarray(splines(coarse, samples) @ wave)[None, :, None]
        c = np.asarray(solve_full_lstsq(jnp.asarray(splines(fine, samples))[None], y)[0, :, 0])
        x = x[(samples.min() < x) & (x < samples.max())]
        error = size(splines(fine, x) @ c - splines(coarse, x) @ wave)
    return {"error between the samples": error, "largest coefficient": size(c)}


def b12():
    a, b = KAN([4, 4, 4], "spline", {"k": 3, "G": 3}, seed=42).layers
    pairs = ((np.asarray(getattr(a, name)[...]), np.asarray(getattr(b, name)[...])) for name in ("c_basis", "c_res"))
    return {"equal starting numbers of two layers": sum(int((p == q).sum()) for p, q in pairs)}


def b13():
    t, x = uniform(5), 2 * (np.arange(60) / 59) ** 2 - 1
    a, b, c = t[1:-3], t[2:-2], t[3:-1]

    def error(double, **options):
        with jax.enable_x64(double):
            layer = layer_on(t, a * b * c - (a + b + c) / 6, **options)
            layer.update_grid(jnp.asarray(x)[:, None], 50)
            return size(np.asarray(layer(jnp.asarray(x)[:, None])[:, 0]) - x**3 + x / 2)

    return {"error, default grid, float32": error(False), "uniform grid, float64": error(True, grid_e=1.0)}


def b16():
    layer = ChebyshevLayer(1, 1, 4, add_bias=False)
    layer.c_basis = nnx.Param(jnp.ones(layer.c_basis[...].shape))
    slope = jax.grad(lambda x: layer(x[:, None]).sum())
    return {"derivative": np.asarray(slope(jnp.array([0.5, 8.0, 10.0, 20.0])))}
