"""Three ways of writing one network: B-splines, power ReLUs and multilayer perceptrons.

    in_relus(net, theta)      B-splines with weights in power ReLUs (`InBasis`): trains as the ReLU form, evaluates as splines
    as_relus(net, theta)      the multichannel MLP: y_q = sum_p sum_j w[q,p,j] ReLU((x_p - t_j)/h)^degree (`PowerReLU`)
    as_splines(net, theta)    from either back to B-splines
    to_mlp(net, theta)        an ordinary MLP of sums of P K units, activation ReLU^degree
    from_mlp(net, theta)      an ordinary ReLU MLP as a network of linear splines, then of power ReLUs if wanted

(multilevel paper, section 3 and Appendix A.) Any kind of weights is carried over that can be rebased; other terms of a
layer, biases and nodes stay as they are. Free knots have to be fixed first (ValueError).

How exact: trained arrays are converted in rational arithmetic and rounded once, so that |w - A' u| <= eps |w| by entry;
constants (`Fixed`, the base of `LoTRA`) in floats. Back again,
u changes by at most 2^-53 |A^-T| |w|, which may be K^(degree + 1) roundings of max|u|: for cubics 6.3e-13 with 7
intervals, 3.4e-9 with 80; smooth u, whose differences are small, fare better. Splines and ReLU form agree for inputs up to
the right end of the domain, and for outside="zero" also left of it; hidden values to the right see powers that grow.

`as_relus` is evaluated as it stands, which loses as many digits again, in every dtype. The stable way to evaluate given
ReLU weights is `as_splines`: the cancellation happens once, exactly, and B-splines add numbers of one size.
"""

from dataclasses import replace
from fractions import Fraction
from math import perm

import numpy as np

from kanref.bases import BSpline, Pointwise, identity
from kanref.free_knots import FreeKnots
from kanref.grids.rebase import join_layers, split_layers
from kanref.mlp import mlp, relu
from kanref.network import KAN, Layer
from kanref.power_relu import PowerReLU, matrices, meant, spacing, to_relu, to_splines
from kanref.terms import Linear
from kanref.weights import Full, InBasis

# ------------------------------------------------------------------------------------------------ between the forms


def in_relus(net, theta, iterate="relu", gradient="relu"):
    """The same function with `InBasis` weights in every B-spline term: network and theta. See `InBasis` for the four kinds."""
    return _changed(net, theta, iterate, lambda basis, kind: Linear(basis, InBasis(kind, basis, iterate, gradient)))


def as_relus(net, theta):
    """The same function, inside the domains, in `PowerReLU` terms in the place of B-splines: network and theta."""
    return _changed(net, theta, "relu", lambda basis, kind: Linear(PowerReLU(basis.knots, basis.degree), kind))


def as_splines(net, theta, outside="zero"):
    """The same function in B-splines with plain weights: network and theta, from `in_relus`, `as_relus` or a mixture.

    outside: policy of the B-splines that replace `PowerReLU` bases; those of `InBasis` weights keep their own.
    """
    return _changed(net, theta, "spline", Linear, outside)


def _changed(net, theta, form, term, outside="zero"):
    """Every term with knots as term(basis, weights), with weights converted to the form "relu" or "spline"."""
    arrays, layers = split_layers(net, theta), []
    for layer, own in zip(net.layers, arrays):
        terms = dict(layer.terms)
        for name, old in layer.terms.items():
            if isinstance(old, FreeKnots):
                raise ValueError(
                    f"the knots of {name!r} in layer {len(layers)} are free, and power ReLUs have fixed ones; fix them by "
                    "multilevel.free_knots.fixed(net, theta)"
                )
            basis = getattr(old, "basis", None)
            if not isinstance(basis, BSpline | PowerReLU):
                continue
            kind, present = _stripped(old.weights)
            if isinstance(basis, PowerReLU):
                basis, present = BSpline(basis.knots, basis.degree, outside), "relu"
            if present != form:
                kind, maps = kind.rebased(_matrix(basis, form), basis)
                for array, (mode, _) in maps.items():
                    own[f"{name}.{array}"] = _exactly(own[f"{name}.{array}"], mode, basis, form)
            terms[name] = term(basis, kind)
        layers.append(replace(layer, terms=terms))
    return join_layers(net, layers, arrays, np.asarray(theta).dtype)


def _stripped(weights):
    """Weights without their `InBasis`, and what their arrays hold."""
    if isinstance(weights, InBasis):
        return weights.inner, weights.iterate
    if hasattr(weights, "inner"):
        inner, present = _stripped(weights.inner)
        return replace(weights, inner=inner), present
    return weights, "spline"


def _matrix(basis, form):
    """R with W_new = W x_3 R: A' to power ReLUs, A^-T to B-splines."""
    A, A_inverse, f = matrices(basis)
    return (A / f if form == "relu" else A_inverse * f).swapaxes(-2, -1)


def _exactly(a, mode, basis, form):
    """The array a, converted along a mode in rational arithmetic."""
    knots = meant(basis)
    knots = knots if mode == 2 or knots.ndim == 1 else knots[0]  # arrays without an input axis: rows are equal
    convert = to_relu if form == "relu" else to_splines
    converted = convert(rational(np.moveaxis(a, mode, -1)), rational(knots), basis.degree)
    return np.moveaxis(converted.astype(float), -1, mode)


def rational(a):
    """A float array as an object array of the same numbers, `Fraction`s."""
    return np.array([Fraction(c) for c in np.ravel(a).tolist()], object).reshape(np.shape(a))


# ----------------------------------------------------------------------------------------------------- ordinary MLPs


def relu_power(degree):
    """The activation ReLU(x)^degree, degree >= 1, with its derivatives; `kanref.mlp.relu` for degree 1."""
    if degree == 1:
        return relu

    def derivative(m):
        if m > degree:
            return np.zeros_like
        return lambda x: perm(degree, m) * (x > 0) * np.maximum(x, 0) ** (degree - m)

    return Pointwise(f"relu^{degree}", tuple(derivative(m) for m in range(4)))


def to_mlp(net, theta):
    """A network of splines as an MLP with activation ReLU^degree: network and theta, the same function inside the domains.

    A layer of P inputs becomes P K units (x_p - t_j)/h, whose weights copy one row of the layer before K times over: an MLP of
    the same function class has far more freedom. Layers must be one term each, B-splines or power ReLUs of one degree >= 1,
    or plain matrices (`first="linear"`), without nodes and input maps; ValueError otherwise.
    """
    net, theta = as_relus(net, theta)
    slope, shift, affine, degrees = np.eye(net.inputs), np.zeros(net.inputs), [], set()
    for l, (layer, arrays) in enumerate(zip(net.layers, split_layers(net, theta))):
        name, term = next(iter(layer.terms.items()))
        basis = getattr(term, "basis", None)
        known = basis is identity or isinstance(basis, PowerReLU)
        if len(layer.terms) > 1 or layer.nodes or layer.normalise or not known:
            raise ValueError(
                f"layer {l} must be one term of B-splines, power ReLUs or a matrix, without nodes or input map, but it has "
                f"{', '.join(layer.terms)}; build with kan(..., base=None)"
            )
        W = term.weights.tensor({array: arrays[f"{name}.{array}"] for array in term.arrays})
        if isinstance(basis, PowerReLU):
            degrees.add(basis.degree)
            h, K = spacing(basis.knots), basis.size
            affine.append((np.repeat(slope / h, K, 0), ((shift[:, None] - basis.knots[:, :K]) / h).ravel()))
            slope, shift = W.reshape(len(W), -1), np.zeros(len(W))
        else:
            slope, shift = W[..., 0] @ slope, W[..., 0] @ shift
        shift = shift + arrays.get("bias", 0)
    if len(degrees) != 1 or 0 in degrees:
        raise ValueError(f"all splines must have one degree >= 1, but the degrees here are {sorted(degrees)}")
    affine.append((slope, shift))
    found = mlp([net.inputs, *(len(b) for _, b in affine)], relu_power(degrees.pop()))
    parts = {f"{l}.linear.W": M[..., None] for l, (M, _) in enumerate(affine)}
    return found, found.join(parts | {f"{l}.bias": b for l, (_, b) in enumerate(affine)})


def from_mlp(net, theta):
    """A ReLU MLP, `mlp(widths, "relu")`, as a network of linear splines: network and theta, equal on the whole line.

    In the multilevel paper's form (Appendix A) an MLP is a matrix, then layers "activation, then weight" with one channel,
    y_q = sum_p W[q,p] ReLU(x_p - t_p), t_p = -b_p. One power ReLU by itself spans no space of splines (it has no constants),
    so each input gets the knots t_p + (-2, -1, 0, 1, 2) s: three functions, of whose weights only the last differs from zero,
    continued linearly. The last bias stays a bias. Powers above 1 have no such form: splines do not continue as they do.
    ValueError for anything but a plain ReLU MLP.
    """
    for l, layer in enumerate(net.layers):
        wanted = Linear, (relu if l else identity), Full
        term = next(iter(layer.terms.values()))
        parts = type(term), getattr(term, "basis", None), type(getattr(term, "weights", None))
        if parts != wanted or len(layer.terms) > 1 or not layer.bias or layer.nodes or layer.normalise:
            raise ValueError(
                f'net must be an MLP with ReLU, mlp(widths, "relu"), but layer {l} has the terms {", ".join(layer.terms)} '
                f"with basis {getattr(term, 'basis', None)!r}"
            )
    arrays = split_layers(net, theta)
    found, own = [], []
    for l, (layer, a) in enumerate(zip(net.layers, arrays)):
        W, last = a["linear.W"], l + 1 == len(net.layers)
        if l == 0:
            terms, weights = layer.terms, {"linear.W": W}
        else:
            t = -arrays[l - 1]["bias"][:, None]
            basis = BSpline(t + np.maximum(1, np.abs(t)) * np.arange(-2, 3), 1, "linear")
            rise = np.zeros((*W.shape[:2], 3))
            rise[..., 2] = W[..., 0] * (basis.knots[:, 3] - basis.knots[:, 2])
            terms, weights = {"spline": Linear(basis, Full(rise.shape))}, {"spline.W": rise}
        found.append(Layer(terms, bias=last))
        own.append(weights | ({"bias": a["bias"]} if last else {}))
    return join_layers(KAN(tuple(found)), found, own, np.asarray(theta).dtype)
