"""Named arrays in the files that libraries keep them in: torch's zip, safetensors, npz, msgpack as flax writes it.

    read_arrays("model.pt")                       {name: array}, whatever the format; found by content
    write_arrays("model.npz", {"a": array})       the format by the suffix, torch's for all that is not named here

What is read is bounded by the size of the file, which an archive may exceed 64 times and arrays that share their numbers 16
times; names can be printed.
"""

import io
import os
import re
import zipfile
from math import prod

import numpy as np

from kanref.interop import msgpack_subset, torch_zip
from kanref.interop.torch_zip import DAMAGES, regular
from kanref.io import FileError, write_atomically

MAX_NAME = 200  # characters
SHARED, UNPACKED = 16, 64  # times the size of the file
HEADER = re.compile(  # of an npy record, as NumPy writes it
    rb"\{'descr': '([<>|][fiub][1248])', 'fortran_order': (True|False), 'shape': \(((?:\d{1,15}, ){0,7}(?:\d{1,15},?)?)\), \} *\n"
)
FORMATS = {".safetensors": "safetensors", ".npz": "npz", ".msgpack": "msgpack"}


def format_of(path):
    """Which it is, "torch", "safetensors", "npz" or "msgpack", by content; None for anything else."""
    with open(regular(path), "rb") as file:
        start = file.read(9)
    if torch_zip.is_torch_zip(path):
        return "torch"
    if start[:2] == b"PK":
        return "torch" if torch_zip.records(path) is None else "npz"  # torch's reader says what is wrong with it
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= os.path.getsize(path):
        return "safetensors"
    return "msgpack" if 0x80 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF) else None


def read_arrays(path):
    """{name: array} in a file of any of the four formats; names of nested dictionaries are joined by dots.

    Raises FileNotFoundError, or `FileError` for files that are damaged, hostile, or of another format.
    """
    kind = format_of(path)
    if kind is None:
        raise FileError(f"{path} is of no format known here: torch's zip, safetensors, npz or msgpack")
    if kind == "msgpack" and _is_bare_pickle(path):
        kind = "torch"  # whose reader says what it is
    read = {"torch": torch_zip.read_state, "safetensors": _safetensors, "npz": _npz, "msgpack": _msgpack}
    found, size = read[kind](path), os.path.getsize(path)
    for name, a in found.items():
        if len(name) > MAX_NAME or not name.isprintable():
            what = f"of {len(name)} characters" if len(name) > MAX_NAME else f"that cannot be printed, {name!r}"
            raise FileError(f"{path} has a name {what}; no library gives an array such a name")
        if not a.size:
            raise FileError(f"{path} is damaged: {name} has no entries, its shape is {a.shape}")
    if kind == "torch" and (whole := sum(a.nbytes for a in found.values())) > SHARED * size:
        raise FileError(f"{path} has {whole} bytes of arrays, more than {SHARED} times the file: they share their numbers")
    return found


def write_arrays(path, arrays):
    """Write {name: array} as the suffix of the path says."""
    kind = FORMATS.get(os.path.splitext(os.fspath(path))[1])
    arrays = {name: np.ascontiguousarray(a).reshape(np.shape(a)) for name, a in arrays.items()}
    if kind == "safetensors":
        from safetensors.numpy import save

        write_atomically(path, save(arrays))
    elif kind == "npz":
        file = io.BytesIO()
        np.savez(file, **arrays)
        write_atomically(path, file.getvalue())
    elif kind == "msgpack":
        write_atomically(path, msgpack_subset.dumps(_nested(arrays)))
    else:
        torch_zip.write(path, arrays)


def numbered(state, name, path):
    """Arrays of layers 0, 1, ... of a state dict with keys <prefix>layers.<number>.<rest>, as dictionaries by their rest, for
    the one prefix under which there is a `name`; and the names that belong to no layer. A layer alone has the keys <rest>."""
    if name in state:
        return [dict(state)], []
    pattern = re.compile(rf"(.*?)layers\.(\d+)\.{re.escape(name)}")
    prefixes = {match[1] for match in map(pattern.fullmatch, state) if match}
    if len(prefixes) != 1:
        raise FileError(f"{path} has no layers.0.{name}, or several such sets; it has {some(state)}")
    (prefix,) = prefixes
    layers, others = {}, []
    for key, a in state.items():
        match = re.fullmatch(rf"{re.escape(prefix)}layers\.(\d+)\.(.+)", key)
        if match:
            layers.setdefault(int(match[1]), {})[match[2]] = a
        else:
            others.append(key)
    if sorted(layers) != list(range(len(layers))):
        missing = min(set(range(len(layers))) - set(layers))
        raise FileError(f"{path} has {len(layers)} layers, but none of them is layers.{missing}")
    return [layers[l] for l in range(len(layers))], others


def some(state):
    """The first names of a state dict, for errors."""
    return ", ".join(sorted(state)[:4]) or "nothing"


def dtype_of(arrays):
    """float32 if all are, else float64."""
    return np.dtype(np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64)


def shaped(own, name, axes, l):
    """The array of a layer of which the shapes of the others follow; axes: how many it may have, as (2, 3)."""
    if name not in own:
        raise FileError(f"layer {l} lacks {name}")
    if own[name].ndim not in axes:
        raise FileError(f"{name} of layer {l} must have {' or '.join(map(str, axes))} axes, but it has shape {own[name].shape}")
    return own[name]


def checked(own, shapes, l):
    """The arrays of a layer that `shapes` {name: shape} names, checked; those that are missing are None if `name` is in
    brackets: "[bias]"."""
    found = []
    for name, shape in shapes.items():
        key = name.strip("[]")
        if key not in own:
            if key == name:
                raise FileError(f"layer {l} lacks {key}")
            found.append(None)
            continue
        a = own[key]
        if a.shape != shape or a.dtype.kind != "f":
            raise FileError(f"{key} of layer {l} must be floats of shape {shape}, but it is {a.dtype} of shape {a.shape}")
        found.append(a)
    return found


def _is_bare_pickle(path):
    """As torch wrote before 1.6; its first byte is a msgpack map of no entries."""
    with open(path, "rb") as file:
        return file.read(1) == b"\x80"


def _flat(tree, prefix=""):
    if not isinstance(tree, dict):
        raise FileError(f"{prefix.rstrip('.') or 'the file'} holds {type(tree).__name__}, not arrays in dictionaries")
    for key, value in tree.items():
        if isinstance(value, np.ndarray):
            yield f"{prefix}{key}", value
        elif value is not None:
            yield from _flat(value, f"{prefix}{key}.")


def _nested(arrays):
    """Dictionaries in dictionaries; numbers become integers, as flax's are."""
    tree = {}
    for name, a in arrays.items():
        *above, last = (int(part) if part.isdigit() else part for part in name.split("."))
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = a
    return tree


def _msgpack(path):
    try:
        return dict(_flat(msgpack_subset.load(path)))
    except ValueError as error:
        raise FileError(f"{path} cannot be read as msgpack: {error}") from None


def _safetensors(path):
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FileError(f"{path} is damaged or no safetensors file of floats ({error})") from None


def _npz(path):
    """Arrays of an npz file; the size that each claims is compared with its bytes before memory is taken."""
    found, limit = {}, UNPACKED * os.path.getsize(path) + 2**20
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            if any(record.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for record in records):
                raise FileError(f"{path} is compressed in a way that NumPy does not use")
            if sum(record.file_size for record in records) > limit:
                raise FileError(f"{path} would be more than {UNPACKED} times as large unpacked; no arrays of numbers are")
            for record in records:
                name = record.filename.removesuffix(".npy")
                if name == record.filename or name in found:
                    what = "two records" if name in found else "a record"
                    raise FileError(f"{path} is no npz file: it has {what} {record.filename!r:.60}")
                with archive.open(record) as file:  # archive.read would unpack all before it counts
                    found[name] = _npy(file.read(record.file_size))
    except FileError as error:
        raise FileError(str(error) if str(path) in str(error) else f"{path} cannot be read: {error}") from None
    except DAMAGES as error:
        raise FileError(f"{path} is damaged or no npz file ({type(error).__name__}: {error})") from None
    return found


def _npy(data):
    """The array of an npy record; nothing in its header is evaluated."""
    version, width = data[6:8], 2 if data[6:7] == b"\1" else 4
    if data[:6] != b"\x93NUMPY" or version not in (b"\1\0", b"\2\0"):
        raise FileError(f"a record that is no array, or of npy version {version!r}")
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    header = HEADER.fullmatch(data[8 + width : start])
    if header is None:
        raise FileError(f"an array with the header {data[8 + width : start]!r:.120}; only numbers are read, as NumPy writes them")
    dtype, shape = np.dtype(header[1].decode()), tuple(map(int, re.findall(rb"\d+", header[3])))
    if len(data) - start != prod(shape) * dtype.itemsize:
        raise FileError(f"an array of shape {shape} and {dtype} with {len(data) - start} bytes")
    return np.frombuffer(data[start:], dtype).reshape(shape, order="F" if header[2] == b"True" else "C")
