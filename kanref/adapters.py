"""Adapters by themselves: taken off a network, put on their base again, kept in small files of their own.

A base may have any number of adapters, one for each task; `kanref.lotra` makes and trains them. An adapter knows its base by
a fingerprint and is refused on every other network, as it would silently compute nonsense there.
"""

import hashlib
import json
import os
from dataclasses import dataclass, replace

import numpy as np

import kanref
from kanref import lotra
from kanref.grids.rebase import split_layers
from kanref.io import FileError, digest, encode, write_atomically
from kanref.lotra import unmasked
from kanref.terms import Linear
from kanref.weights import Fixed, LoTRA, Masked

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Adapter:
    """{"layer.term": (scale, {array: values})}, and the fingerprint of the base."""

    parts: dict
    base: str

    @property
    def size(self):
        """How many numbers were trained."""
        return sum(a.size for _, arrays in self.parts.values() for a in arrays.values())


def fingerprint(net, theta):
    """SHA-256 of what a network computes with, adapters apart: the bases, weights and nodes of all layers, frozen."""

    def without(l, name, term, own):
        weights = unmasked(getattr(term, "weights", None))
        if not isinstance(weights, LoTRA):
            return lotra.fixed(l, name, term, own)
        return Linear(term.basis, Fixed(weights.base)), {}

    frozen, _ = lotra.freeze(*lotra.changed(net, theta, without))
    constants = {}
    sha = hashlib.sha256(json.dumps(encode(frozen, constants), sort_keys=True).encode())
    for name, a in constants.items():
        sha.update(f"{name} {a.shape}".encode())
        sha.update(np.ascontiguousarray(a))
    return sha.hexdigest()


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
    return Adapter(parts, fingerprint(net, theta))


def attach(net, theta, adapter):
    """The base network with an adapter on it: net and theta of the network that `detach` was called with.

    Raises ValueError if the network is not the one that the adapter was made for, to the bit.
    """
    if fingerprint(net, theta) != adapter.base:
        raise ValueError(
            "the adapter was made for another network: its base must have the same structure and the same weights, bit for "
            "bit; give the network that was adapted"
        )
    layers = tuple(dict.fromkeys(int(key.split(".", 1)[0]) for key in adapter.parts))
    names = tuple(dict.fromkeys(key.split(".", 1)[1] for key in adapter.parts))
    new, vector = lotra.adapt(net, theta, 1, layers=layers, terms=names)
    arrays, changed = split_layers(new, vector), list(new.layers)
    for key, (scale, own) in adapter.parts.items():
        l, name = int(key.split(".", 1)[0]), key.split(".", 1)[1]
        term = changed[l].terms[name]
        old = unmasked(term.weights)
        weights = LoTRA(old.base, replace(old.adapter, ranks=own["core"].shape), scale)
        weights = Masked(weights, term.weights.mask) if isinstance(term.weights, Masked) else weights
        changed[l] = replace(changed[l], terms={**changed[l].terms, name: Linear(term.basis, weights)})
        arrays[l].update((f"{name}.{array}", a) for array, a in own.items())
    return new.rebuilt(changed, arrays, np.asarray(theta).dtype)


# -------------------------------------------------------------------------------------------------------------- files


def save_adapter(path, adapter):
    """Write an adapter to one safetensors file, whole or not at all: its arrays, scales, and its base's fingerprint."""
    from safetensors.numpy import save

    tensors = {
        f"{key}.{array}": np.ascontiguousarray(a) for key, (_, own) in adapter.parts.items() for array, a in own.items()
    }
    scales = {key: scale for key, (scale, _) in adapter.parts.items()}
    header = {"format": FORMAT, "version": kanref.__version__, "base": adapter.base, "scales": scales}
    header["sha256"] = digest(header, tensors)
    write_atomically(path, save(tensors, {"kanref-adapter": json.dumps(header)}))


def load_adapter(path):
    """The `Adapter` in a file. Raises FileNotFoundError, or FileError for files that are damaged, foreign or newer."""
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no adapter file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileError(f"{path} is damaged or no safetensors file ({error}); save the adapter again") from None
    if "kanref-adapter" not in metadata:
        hint = "; it is a whole model: kanref.load reads it" if "kanref" in metadata else ""
        raise FileError(f"{path} is no adapter of kanref: its metadata has no entry 'kanref-adapter'{hint}")
    try:
        header = json.loads(metadata["kanref-adapter"])
        if header["format"] > FORMAT:
            raise FileError(f"{path} has format {header['format']}, but this kanref reads up to {FORMAT}; update kanref")
        if header["sha256"] != digest(header, tensors):
            raise FileError(f"{path} is damaged: its check sum does not fit its contents; copy or save it again")
        own = lambda key: {name.rsplit(".", 1)[1]: a for name, a in tensors.items() if name.rsplit(".", 1)[0] == key}
        return Adapter({key: (float(scale), own(key)) for key, scale in header["scales"].items()}, header["base"])
    except FileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"{path} is damaged ({type(error).__name__}: {error}); save the adapter again") from None
