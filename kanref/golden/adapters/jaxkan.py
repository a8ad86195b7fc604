"""jaxKAN 0.3.7, its spline layer, behind the protocol, with JAX's automatic differentiation.

Left out, as it has no such thing: masks, nodes, formulas, maps of inputs, policies outside the domain. 64 bits are switched on
for the questions in float64, and left as they were.
"""

from functools import cache, wraps
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxkan.grids.SplineGrid import SplineGrid
from jaxkan.layers.Spline import SplineLayer
from jaxkan.layers.utils import solve_full_lstsq

from kanref.golden.adapters.autograd import refuse, refuse_outside
from kanref.golden.protocol import AFFINE

RESIDUAL = {
    "silu": nnx.silu,
    "sigmoid": nnx.sigmoid,
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "identity": lambda x: x,
    "zero": lambda x: 0 * x,
}
GIVEN = {"type": "custom", "c_basis": jnp.zeros(1), "c_res": jnp.zeros(1)}  # nothing is drawn: arrays follow
NAMES = {"spline": "c_basis", "base": "c_res", "scale": "c_spl", "bias": "bias"}


@cache
def hasty():
    """Options of XLA with which it compiles fast, as every question is asked once; none where they are not known."""
    options = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda x: x + 1, compiler_options=options)(1.0)
    except Exception:  # another release
        return {}
    return options


def is_double(part):
    """Whether the first array among nested arguments is float64."""
    if isinstance(part, dict | list | tuple):
        found = (is_double(value) for value in (part.values() if isinstance(part, dict) else part))
        return next((answer for answer in found if answer is not None), None)
    return part.dtype == np.float64 if isinstance(part, np.ndarray) else None


def in_precision(operation):
    """The operation in the precision of its arguments, compiled as one with its arrays traced, once for all arrays of a shape,
    with a NumPy answer."""

    @cache
    def compiled(tree, fixed):
        def run(arrays):
            rest = iter(arrays)
            return operation(**jax.tree.unflatten(tree, [next(rest) if leaf is None else leaf for leaf in fixed]))

        return jax.jit(run, compiler_options=hasty())

    @wraps(operation)
    def asked(**arguments):
        leaves, tree = jax.tree.flatten(arguments)
        traced = [isinstance(leaf, np.ndarray) for leaf in leaves]
        fixed = tuple(None if t else leaf for t, leaf in zip(traced, leaves))
        with jax.enable_x64(bool(is_double(arguments))):
            answer = compiled(tree, fixed)([leaf for t, leaf in zip(traced, leaves) if t])
            return jax.tree.map(np.asarray, answer)

    return asked


def one_layer(layer, arrays, l=0):
    """A SplineLayer with a layer's arrays, those that are trained taken from {"layer.array": array}."""
    Q, P, K = layer["spline"].shape
    residual = RESIDUAL[layer["base_function"]] if "base" in layer else None
    parts = {"external_weights": "scale" in layer, "add_bias": "bias" in layer, "residual": residual}
    made = SplineLayer(P, Q, layer["degree"], K - layer["degree"], init_scheme=GIVEN, **parts)
    made.grid.item = jnp.asarray(layer["knots"])
    for name, own in NAMES.items():
        if name in layer:
            setattr(made, own, nnx.Param(jnp.asarray(arrays[f"{l}.{name}"])))
    return made


def network_function(network):
    """apply(arrays, x (N, P)) and the arrays."""
    refuse_outside(network)
    refuse(network, "mask", "arity", "formulas", *AFFINE)
    if not all("spline" in layer for layer in network):
        raise NotImplementedError("every layer has splines")
    arrays = {
        f"{l}.{name}": jnp.asarray(a) for l, own in enumerate(network) for name, a in own.items() if name in NAMES
    }

    def apply(arrays, x):
        for l, layer in enumerate(network):
            x = one_layer(layer, arrays, l)(x)
        return x

    return apply, arrays


def along(f, v, order):
    """Derivative of an order of x -> f(x) along v."""
    for _ in range(order):
        f = lambda x, f=f: jax.jvp(f, (x,), (v,))[1]
    return f


@in_precision
def bspline(x, knots, degree, order, outside):
    if outside != "zero":
        raise NotImplementedError("functions fade to zero outside the domain; there is no other policy")
    made = SplineLayer(1, 1, degree, max(1, len(knots) - 2 * degree - 1), init_scheme=GIVEN)
    made.grid.item = jnp.asarray(knots)[None]
    x = jnp.asarray(x)[:, None]
    return along(made.basis, jnp.ones_like(x), order)(x)[:, 0]


@in_precision
def forward(network, x):
    apply, arrays = network_function(network)
    return apply(arrays, jnp.asarray(x))


def losses(name, f, target):
    if name == "mse":
        return jnp.mean((f - target) ** 2)
    if name == "mae":
        return jnp.mean(jnp.abs(f - target))
    labels = jnp.asarray(target)
    if name == "cross_entropy":
        return jnp.mean(jax.nn.logsumexp(f, 1) - f[jnp.arange(len(f)), labels])
    return jnp.mean(jax.nn.softplus(f[:, 0]) - labels * f[:, 0])


@in_precision
def gradient(network, x, target, loss):
    apply, arrays = network_function(network)
    target = jnp.asarray(target)
    value, slopes = jax.value_and_grad(lambda a: losses(loss, apply(a, jnp.asarray(x)), target))(arrays)
    return {"value": value, **slopes}


@in_precision
def input_gradient(network, x):
    apply, arrays = network_function(network)
    return jnp.stack([jax.jacfwd(lambda u: apply(arrays, u[None])[0])(u) for u in jnp.asarray(x)])


@in_precision
def input_hessian(network, x):
    apply, arrays = network_function(network)
    return jnp.stack([jax.hessian(lambda u: apply(arrays, u[None])[0])(u) for u in jnp.asarray(x)])


@in_precision
def jet(network, x, direction, order):
    apply, arrays = network_function(network)
    x = jnp.asarray(x)
    v = jnp.broadcast_to(jnp.asarray(direction), x.shape)
    return jnp.stack([along(lambda x: apply(arrays, x), v, m)(x) for m in range(order + 1)])


@in_precision
def hessian_vector(network, x, target, direction):
    apply, arrays = network_function(network)
    slopes = jax.grad(lambda a: losses("mse", apply(a, jnp.asarray(x)), jnp.asarray(target)))
    return jax.jvp(slopes, (arrays,), ({name: jnp.asarray(a) for name, a in direction.items()},))[1]


@in_precision
def residual(network, x, equation, coefficient, forcing):
    apply, arrays = network_function(network)
    x, c, e = jnp.asarray(x), coefficient, np.eye(2)

    def r(arrays):
        u = lambda x: apply(arrays, x)[:, 0]
        d = lambda *axes: _mixed(u, [jnp.broadcast_to(jnp.asarray(e[i], x.dtype), x.shape) for i in axes])(x)
        return {
            "poisson": lambda: d(0, 0) + d(1, 1),
            "helmholtz": lambda: d(0, 0) + d(1, 1) + c * u(x),
            "heat": lambda: d(1) - c * d(0, 0),
            "burgers": lambda: d(1) + u(x) * d(0) - c * d(0, 0),
            "allen-cahn": lambda: d(1) - c * d(0, 0) + u(x) ** 3 - u(x),
            "mixed": lambda: d(0, 1) + c * u(x) * d(1),
        }[equation]() - jnp.asarray(forcing)

    value, slopes = jax.value_and_grad(lambda a: jnp.mean(r(a) ** 2))(arrays)
    return {"residual": r(arrays), "value": value, **slopes}


def _mixed(u, directions):
    for v in directions:
        u = along(u, v, 1)
    return u


@in_precision
def grid_update(samples, intervals, degree, rule, mix):
    if rule != "jaxkan":
        raise NotImplementedError("another library's rule")
    made = SplineGrid(samples.shape[1], degree, intervals, grid_e=0.05 if mix is None else mix)
    made.update(jnp.asarray(samples), intervals)
    return made.item


@in_precision
def refit(knots, degree, W, new_knots, samples):
    if samples is None:
        raise NotImplementedError("refits are made from samples")
    tables = []
    for t in (knots, new_knots):
        made = SplineLayer(1, 1, degree, len(t) - 2 * degree - 1, init_scheme=GIVEN)
        made.grid.item = jnp.asarray(t)[None]
        tables.append(made.basis(jnp.asarray(samples)[:, None])[:, 0])
    return solve_full_lstsq(tables[1][None], (tables[0] @ W.T)[None])[0].T


@in_precision
def update(network, samples, rule):
    if rule != "jaxkan":
        raise NotImplementedError("another library's rule")
    layer = network[0]
    made = one_layer(layer, {f"0.{name}": a for name, a in layer.items()})
    made.update_grid(jnp.asarray(samples), layer["spline"].shape[2] - layer["degree"])
    weights = made.c_basis[...] * (made.c_spl[..., None] if made.c_spl is not None else 1)
    return {"knots": made.grid.item, "weights": weights}


_offered = (
    bspline,
    forward,
    gradient,
    input_gradient,
    input_hessian,
    jet,
    hessian_vector,
    residual,
    grid_update,
    refit,
    update,
)
adapter = SimpleNamespace(library="jaxkan", **{operation.__name__: operation for operation in _offered})
