"""Adapters by themselves: taken off a network, put on their base again, kept in small files of their own.

A base may have any number of adapters, one for each task; `kanref.lotra` makes and trains them. An adapter knows its base by
a fingerprint and is refused on every other network, as it would silently compute nonsense there.
"""

import hashlib
import json
from dataclasses import dataclass, field

import numpy as np

from kanref import lotra
from kanref.grids.rebase import change_terms, split_layers
from kanref.io import damage, encode, read_tensors, write_tensors
from kanref.lotra import unmasked
from kanref.terms import Linear
from kanref.weights import Fixed, LoTRA, LowRank, Tucker


@dataclass(frozen=True, eq=False)
class Adapter:
    """{"layer.term": (scale, {array: values})}, the fingerprint of the base, and what the adapter is for (JSON types)."""

    parts: dict
    base: str
    about: dict = field(default_factory=dict)

    @property
    def size(self):
        """How many numbers were trained."""
        return sum(a.size for _, arrays in self.parts.values() for a in arrays.values())


def fingerprint(net, theta):
    """SHA-256 of what a network computes with: the bases, weights and nodes of all layers, frozen."""
    frozen, _ = lotra.freeze(net, theta)
    constants = {}
    sha = hashlib.sha256(json.dumps(encode(frozen, constants), sort_keys=True).encode())
    for name, a in constants.items():
        sha.update(f"{name} {a.shape}".encode())
        sha.update(np.ascontiguousarray(a))
    return sha.hexdigest()


def without(l, name, term, own):
    """A change: what an adapter stands on, as constants."""
    weights = unmasked(getattr(term, "weights", None))
    if not isinstance(weights, LoTRA):
        return term, own
    return Linear(term.basis, Fixed(weights.base)), {}


def detach(net, theta):
    """The `Adapter` of a network made by `lotra.adapt`."""
    parts = {}
    for l, (layer, own) in enumerate(zip(net.layers, split_layers(net, theta))):
        for name, term in layer.terms.items():
            weights = unmasked(getattr(term, "weights", None))
            if isinstance(weights, LoTRA):
                parts[f"{l}.{name}"] = weights.scale, {array: own[f"{name}.{array}"].copy() for array in term.arrays}
    if not parts:
        raise ValueError(f"the network has no adapters; make them by lotra.adapt(net, theta, ranks):\n{net!r}")
    return Adapter(parts, fingerprint(*change_terms(net, theta, without)))


def attach(net, theta, adapter):
    """The base network with an adapter on it: net and theta of the network that `detach` was called with.

    Raises ValueError if the network is not the one that the adapter was made for, to the bit: neither is that one with
    another adapter on it.
    """
    if fingerprint(net, theta) != adapter.base:
        raise ValueError(
            "the adapter was made for another network: its base must have the same structure and the same weights, bit for "
            "bit; give the network that was adapted"
        )

    def put(l, name, term, own):
        if f"{l}.{name}" not in adapter.parts:
            return lotra.fixed(l, name, term, own)
        scale, arrays = adapter.parts[f"{l}.{name}"]
        return lotra.with_adapter(term, own, of_arrays(term.weights.shape, arrays), scale), arrays

    return change_terms(*lotra.freeze_nodes(net, theta), put)


def of_arrays(shape, arrays):
    """The kind of adapter that has these arrays."""
    return Tucker(shape, arrays["core"].shape) if "core" in arrays else LowRank(shape, arrays["left"].shape[1])


# -------------------------------------------------------------------------------------------------------------- files


def save_adapter(path, adapter):
    """Write an adapter to one safetensors file, whole or not at all: its arrays and scales, its base's fingerprint, and what
    it is for."""
    tensors = {f"{key}.{array}": a for key, (_, own) in adapter.parts.items() for array, a in own.items()}
    scales = {key: scale for key, (scale, _) in adapter.parts.items()}
    write_tensors(path, "kanref-adapter", {"base": adapter.base, "scales": scales, "about": adapter.about}, tensors)


def load_adapter(path):
    """The `Adapter` in a file. Raises the errors of `io.read_tensors`."""
    header, tensors = read_tensors(path, "kanref-adapter", "adapter")
    with damage(path):
        own = lambda key: {name.rsplit(".", 1)[1]: a for name, a in tensors.items() if name.rsplit(".", 1)[0] == key}
        parts = {key: (float(scale), own(key)) for key, scale in header["scales"].items()}
        return Adapter(parts, header["base"], header.get("about", {}))
