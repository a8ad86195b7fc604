"""Model files: one safetensors file, arrays by name, the structure as JSON inside. No pickle, nothing executed.

    tensors     every trained array under its public name and layout ("0.spline.W": (out, in, basis)), and the constants
                of the structure (knots, masks, fixed weights) under "structure.<number>"
    metadata    {"kanref": JSON}: format number, version of kanref, structure, what the caller adds as `extra`, and the
                SHA-256 of all this and the tensors, so that no damage goes unnoticed

so that any safetensors reader can use the numbers. Writing is atomic: the file appears whole or not at all.
"""

import hashlib
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import fields, is_dataclass

import numpy as np

import kanref
from kanref.bases import BASE_FUNCTIONS, BSpline, Chebyshev, MinMax, Pointwise
from kanref.edges import Symbolic
from kanref.free_knots import FreeKnots
from kanref.functions import LIBRARY, Function, power_of
from kanref.gaussians import Gaussians
from kanref.network import KAN, Layer
from kanref.nodes import Nodes
from kanref.power_relu import PowerReLU
from kanref.terms import Linear
from kanref.weights import Fixed, Full, InBasis, LoTRA, LowRank, Masked, Scaled, Tucker

FORMAT = 1
TERMS = Linear, Symbolic, FreeKnots
BASES = BSpline, Chebyshev, MinMax, PowerReLU, Gaussians
WEIGHTS = Full, Fixed, Masked, Scaled, InBasis, Tucker, LowRank, LoTRA
PARTS = KAN, Layer, Nodes, *TERMS, *BASES, *WEIGHTS
KINDS = {kind.__name__: kind for kind in PARTS}
NAMED = {"Pointwise": (Pointwise, BASE_FUNCTIONS), "Function": (Function, LIBRARY)}  # kept by name, never as code


class FileError(ValueError):
    """A file that is damaged, foreign, or made by a newer kanref."""


def known(kind, name):
    """kanref's own function of a name, None if there is none."""
    own = NAMED[kind][1].get(name)
    return power_of(name[2:]) if own is None and kind == "Function" and name.startswith("x^") else own


def encode(part, tensors):
    """A structure as JSON types; its arrays go to `tensors`."""
    for kind, (named, _) in NAMED.items():
        if isinstance(part, named):
            if known(kind, part.name) not in (None, part):
                raise ValueError(
                    f"a function of your own is named {part.name!r} as one of kanref's, which readers of the file would "
                    "get instead; give it another name"
                )
            return {"kind": kind, "name": part.name}
    if is_dataclass(part):
        kind = type(part).__name__
        if KINDS.get(kind) is not type(part):
            raise TypeError(f"{kind} has no place in a model file; files hold {', '.join(KINDS)}")
        return {"kind": kind, **{f.name: encode(getattr(part, f.name), tensors) for f in fields(part)}}
    if isinstance(part, np.ndarray):
        name = f"structure.{len(tensors)}"
        tensors[name] = part
        return {"tensor": name}
    if isinstance(part, dict):
        return {"map": {key: encode(value, tensors) for key, value in part.items()}}
    if isinstance(part, (tuple, list)):
        return [encode(value, tensors) for value in part]
    if part is None or isinstance(part, (bool, str, float)):
        return part
    return int(part)


def decode(part, tensors, functions):
    """The inverse of `encode`; only the kinds named there can arise."""
    if isinstance(part, list):
        return tuple(decode(value, tensors, functions) for value in part)
    if not isinstance(part, dict):
        return part
    if "tensor" in part:
        return tensors[part["tensor"]]
    if "map" in part:
        return {key: decode(value, tensors, functions) for key, value in part["map"].items()}
    kind = part["kind"]
    if kind in NAMED:
        function = functions.get(part["name"], known(kind, part["name"]))
        if not isinstance(function, NAMED[kind][0]):
            raise FileError(
                f"the model uses the {'base ' * (kind == 'Pointwise')}function {part['name']!r}, which is not one of "
                f"kanref's; give it: load(path, functions={{{part['name']!r}: {kind}(...)}})"
            )
        return function
    if kind not in KINDS:
        raise FileError(f"unknown part {kind!r} in the structure; the file may come from a newer kanref")
    return KINDS[kind](**{key: decode(value, tensors, functions) for key, value in part.items() if key != "kind"})


def save_network(path, net, theta, extra=None):
    """Write a network, its parameters and `extra` (JSON types) to `path`."""
    constants = {}
    structure = encode(net, constants)
    write_tensors(path, "kanref", {"structure": structure, "extra": extra or {}}, {**net.split(theta), **constants})


def write_tensors(path, entry, own, tensors):
    """Write arrays and a header to a safetensors file, whole or not at all: `own` (JSON types), the format, the version of
    kanref and the check sum of all, as JSON under `entry` of the metadata."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(a) for name, a in tensors.items()}
    header = {"format": FORMAT, "version": kanref.__version__, **own}
    header["sha256"] = digest(header, tensors)
    write_atomically(path, save(tensors, {entry: json.dumps(header)}))


def digest(header, tensors):
    """SHA-256 of a header, but for its own "sha256", and of the tensors in the order of their names; hexadecimal."""
    told = {key: value for key, value in header.items() if key != "sha256"}
    sha = hashlib.sha256(json.dumps(told, allow_nan=False, sort_keys=True).encode())
    for name in sorted(tensors):
        a = tensors[name]
        sha.update(f"{name} {a.dtype.str} {a.shape}".encode())
        sha.update(np.ascontiguousarray(a))
    return sha.hexdigest()


def write_atomically(path, data):
    """Bytes to a file that appears whole or not at all."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"cannot write {path}: the folder {folder} does not exist; create it first")
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".kanref-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_tensors(path, entry, what):
    """Header and arrays of a file that `write_tensors` wrote; what: "model", "adapter", for messages.

    Raises FileNotFoundError, or FileError for files that are damaged, foreign or newer; nothing in a file is executed.
    """
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no {what} file {path}")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise FileError(f"{path} is damaged or no safetensors file ({error}); save the {what} again") from None
    if entry not in metadata:
        raise FileError(f"{path} is a safetensors file but no kanref {what}: its metadata has no entry {entry!r}")
    with damage(path):
        header = json.loads(metadata[entry])
        number = header["format"]
        if number > FORMAT:
            raise FileError(f"{path} has format {number}, but this kanref reads up to {FORMAT}; update kanref")
        if header["sha256"] != digest(header, tensors):
            raise FileError(f"{path} is damaged: its check sum does not fit its contents; copy or save it again")
    return header, tensors


@contextmanager
def damage(path):
    """FileError for what goes wrong when the contents of a file are taken apart."""
    try:
        yield
    except FileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, MemoryError) as error:
        raise FileError(
            f"{path} is damaged: its structure cannot be rebuilt ({type(error).__name__}: {error})"
        ) from None


def load_network(path, functions=None):
    """net, theta and extra from a file; `functions` {name: Pointwise or Function} for those that are not kanref's own.

    Raises the errors of `read_tensors`.
    """
    header, tensors = read_tensors(path, "kanref", "model")
    with damage(path):
        net = decode(header["structure"], tensors, functions or {})
        if not isinstance(net, KAN):
            raise FileError(f"{path} is damaged: it holds no network, but {type(net).__name__}")
        dtype = tensors[next(iter(net.layout))].dtype if net.layout else np.float64
        theta = net.join({name: tensors[name] for name in net.layout}).astype(dtype, copy=False)
        return net, theta, header["extra"]


def load(path, functions=None):
    """The `kanref.Model` in a file; see `load_network`."""
    from kanref.model import Model

    return Model.load(path, functions)
