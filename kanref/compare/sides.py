"""The two sides of a comparison: a model, and an implementation that is asked through the conformance protocol.

Both give what a layer l makes of inputs x (N, P): mapped (N, P), and from mapped inputs edges (N, Q, P), sums (N, Q) and nodes;
`values` of the whole network. What a side refuses, or raises, is `Refused`.
"""

import warnings
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from kanref.bases import BASE_FUNCTIONS, BSpline, MinMax, Pointwise
from kanref.edges import Symbolic
from kanref.free_knots import FreeKnots
from kanref.golden.conformance import raised, real, words
from kanref.interop.parts import unwrapped
from kanref.network import KAN
from kanref.nodes import AFFINE

NODES = "arity", *AFFINE
SINGLY = 64  # edges of a layer that an implementation is asked for one by one; of larger ones, input by input


class Refused(Exception):
    """What a side said instead of an answer."""


@contextmanager
def listening():
    """Errors inside become `Refused`; warnings are none."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            yield
        except NotImplementedError as error:
            raise Refused(f"does not offer this: {words(error)}") from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # pytest.skip and others are no Exception
            raise Refused(f"raised {raised(error)}") from error


@dataclass(frozen=True, eq=False)
class Own:
    """A network of kanref with its parameters."""

    net: KAN
    theta: np.ndarray

    @property
    def dtype(self):
        return self.theta.dtype.type

    @cached_property
    def arrays(self):
        return self.net.of_layers(self.theta)

    def values(self, x):
        return self.levels(x)[-1]

    def levels(self, x):
        """The inputs of every layer, and the outputs last."""
        with listening():
            return self.net.activations(self.theta, x)

    def mapped(self, l, x):
        with listening():
            return self.net.layers[l].mapped(np.ascontiguousarray(x, self.dtype))

    def edges(self, l, z):
        return self._of(l, z, lambda layer, z: layer.edges(self.arrays[l], z))

    def sums(self, l, z):
        return self._of(l, z, lambda layer, z: replace(layer, nodes=None).forward(self.arrays[l], z[None])[0][0])

    def nodes(self, l, z):
        return self._of(l, z, lambda layer, z: layer.forward(self.arrays[l], z[None])[0][0])

    def outputs(self, l, x):
        return self.nodes(l, self.mapped(l, x))

    def _of(self, l, z, ask):
        with listening():
            return ask(replace(self.net.layers[l], normalise=None), np.ascontiguousarray(z, self.dtype))

    def written(self, l):
        """Layer l in the protocol's form, without its input map; None if that has no words for it."""
        return written(self.net.layers[l], self.arrays[l])


@dataclass(frozen=True, eq=False)
class Foreign:
    """An adapter that is asked `forward` on parts of a network, a list of layers in the protocol's form."""

    adapter: object
    network: list
    dtype: type

    def ask(self, network, x):
        """forward(network, x), with weights written out if scales or masks are not offered."""
        shape = len(x), _outputs(network[-1])
        x = np.ascontiguousarray(x, self.dtype)
        with listening():
            try:
                y = real(self.adapter.forward(network=deepcopy(network), x=x.copy()), "the answer")
            except NotImplementedError:
                y = real(self.adapter.forward(network=deepcopy([folded(l) for l in network]), x=x.copy()), "the answer")
        if y.shape != shape:
            raise Refused(f"gave shape {y.shape}, expected {shape}")
        return y

    def values(self, x):
        return self.ask(self.network, x)

    def mapped(self, l, x):
        """The adapter is not asked for maps alone."""
        name = self.network[l].get("normalise")
        return x if name is None else BASE_FUNCTIONS[name].derivatives(x, 0)[1][0, ..., 0]

    def edges(self, l, z):
        """One at a time, the weights of all others being 0; all of one input in large layers."""
        layer, inputs = without(self.network[l], "normalise", "bias", *NODES), range(z.shape[1])
        outputs = range(_outputs(layer))
        if len(outputs) * len(inputs) > SINGLY:
            return np.stack([self.ask([alone(layer, p)], z) for p in inputs], -1)
        return np.stack([np.stack([self.ask([alone(layer, p, q)], z)[:, q] for q in outputs], 1) for p in inputs], -1)

    def sums(self, l, z):
        return self.ask([without(self.network[l], "normalise", *NODES)], z)

    def nodes(self, l, z):
        return self.ask([without(self.network[l], "normalise")], z)

    def outputs(self, l, x):
        return self.ask([self.network[l]], x)

    def written(self, l):
        return without(self.network[l], "normalise")


# ------------------------------------------------------------------------------------------------- the protocol's form


def network_of(net, theta):
    """A network as the protocol has it; ValueError for what it has no words for."""
    found = []
    for l, (layer, arrays) in enumerate(zip(net.layers, net.of_layers(theta))):
        own, name = written(layer, arrays), getattr(layer.normalise, "name", None)
        if own is None or (layer.normalise is not None and BASE_FUNCTIONS.get(name) is not layer.normalise):
            what = "; ".join(f"{term}" for _, _, term, *_ in [net.table()[l]])
            raise ValueError(f"an implementation cannot be asked for layer {l}, {what}: the protocol has no words for it")
        found.append(own if layer.normalise is None else {**own, "normalise": name})
    return found


def without_scaling(net, x):
    """The network without a first map onto [-1, 1], and what comes out of that map."""
    first = net.layers[0]
    if not isinstance(first.normalise, MinMax):
        return net, x
    return replace(net, layers=(replace(first, normalise=None), *net.layers[1:])), first.mapped(x)


def written(layer, arrays):
    """A layer as a dictionary of `kanref.golden.protocol`, without its input map; None if that has no words for it."""
    found, masks, dtype = {}, {}, next((a.dtype for a in arrays.values()), np.dtype(float))
    for name, term in layer.terms.items():
        own = {array: arrays[f"{name}.{array}"] for array in term.arrays}
        if isinstance(term, FreeKnots):
            term, own = term.fixed(own)
        basis = getattr(term, "basis", term)
        kind = {BSpline: "spline", Pointwise: "base", Symbolic: "formulas"}.get(type(basis))
        if kind is None or kind in found or (kind == "base" and BASE_FUNCTIONS.get(basis.name) is not basis):
            return None
        if kind == "formulas":
            found |= {"formulas": [[q, p, f.name] for q, p, f in term.formulas], "affine": own["affine"]}
            continue
        weights, scale, masks[kind] = unwrapped(term.weights, own)
        W = np.array(weights.tensor(own))
        if kind == "base":
            found |= {"base": W[:, :, 0] if scale is None else W[:, :, 0] * scale, "base_function": basis.name}
            continue
        found |= {"knots": basis.knots.astype(dtype), "degree": basis.degree, "outside": basis.outside, "spline": W}
        if scale is not None:
            found["scale"] = scale
    if not masks:  # formulas alone do not say how many inputs and outputs there are
        found |= {"base": np.zeros((layer.sums, layer.inputs), dtype), "base_function": "zero"}
    first, *others = masks.values() or [None]
    if all(first is not None and other is not None and np.array_equal(first, other) for other in others):
        found |= {} if first is None else {"mask": first.astype(dtype)}
    else:
        found |= {kind: _times(found[kind], mask) for kind, mask in masks.items() if mask is not None}
    if layer.bias:
        found["bias"] = arrays["bias"]
    if layer.nodes is not None:
        own = {name: arrays.get(name, layer.nodes.constants.get(name)) for name in AFFINE}
        found |= {"arity": list(layer.nodes.arity), **{n: a.astype(dtype) for n, a in own.items() if a is not None}}
    return found


def folded(layer):
    """The same layer with scale and mask multiplied into the weights, and without affine maps that do nothing."""
    found = without(layer, "mask", "scale")
    if "spline" in layer:
        found["spline"] = _times(_times(layer["spline"], layer.get("scale")), layer.get("mask"))
    if "base" in layer:
        found["base"] = _times(layer["base"], layer.get("mask"))
    idle = {name for name in ("bias", *AFFINE) if name in layer and (layer[name] == float(name.endswith("scale"))).all()}
    idle |= {"arity"} if max(layer.get("arity", [1])) == 1 else set()
    return without(found, *idle)


def _times(W, factor):
    """W (Q, P, ...) times (Q, P), which may be None."""
    return W if factor is None else W * factor.astype(W.dtype).reshape(*factor.shape, *(1,) * (W.ndim - 2))


def without(layer, *names):
    return {name: a for name, a in layer.items() if name not in names}


def alone(layer, p, q=slice(None)):
    """A layer with the edges of one input alone, or the one of them to output q."""
    found = dict(layer)
    for name in ("spline", "base"):
        if name in layer:
            found[name] = np.zeros_like(layer[name])
            found[name][q, p] = layer[name][q, p]
    if "formulas" in layer:
        kept = [n for n, edge in enumerate(layer["formulas"]) if edge[1] == p and q in (edge[0], slice(None))]
        found |= {"formulas": [layer["formulas"][n] for n in kept], "affine": layer["affine"][kept]}
        found = found if kept else without(found, "formulas", "affine")
    return found


def _outputs(layer):
    return len(layer["arity"]) if "arity" in layer else layer["spline" if "spline" in layer else "base"].shape[0]
