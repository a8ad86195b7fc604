"""Named arrays in the files that libraries keep them in: torch's zip, safetensors, npz, msgpack as flax writes it.

    read_arrays("model.pt")                       {name: array}, whatever the format; found by content
    write_arrays("model.npz", {"a": array})       the format by the suffix, torch's for all that is not named here
"""

import io
import os
import re
import zipfile

import numpy as np

from kanref.interop import msgpack_subset, torch_zip
from kanref.io import FileError, write_atomically

FORMATS = {".safetensors": "safetensors", ".npz": "npz", ".msgpack": "msgpack"}


def format_of(path):
    """Which it is, "torch", "safetensors", "npz" or "msgpack", by content; None for anything else."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {path}")
    with open(path, "rb") as file:
        start = file.read(9)
    if torch_zip.is_torch_zip(path):
        return "torch"
    if start[:2] == b"PK":
        return "npz" if zipfile.is_zipfile(path) else "torch"  # whose reader says what is wrong with it
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= os.path.getsize(path):
        return "safetensors"
    return "msgpack" if start and (0x80 <= start[0] <= 0x8F or start[0] in (0xDE, 0xDF)) else None


def read_arrays(path):
    """{name: array} in a file of any of the four formats; names of nested dictionaries are joined by dots.

    Raises FileNotFoundError, or `FileError` for files that are damaged, hostile, or of another format.
    """
    kind = format_of(path)
    if kind == "torch":
        return torch_zip.read_state(path)
    if kind == "safetensors":
        return _safetensors(path)
    if kind == "npz":
        return _npz(path)
    try:
        if kind == "msgpack" and not _is_bare_pickle(path):
            return dict(_flat(msgpack_subset.load(path)))
    except ValueError as error:
        raise FileError(f"{path} cannot be read as msgpack: {error}") from None
    if kind == "msgpack":
        return torch_zip.read_state(path)  # which says what it is
    raise FileError(f"{path} is of no format known here: torch's zip, safetensors, npz or msgpack")


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
        found = ", ".join(sorted(state)[:4])
        raise FileError(f"{path} has no layers.0.{name}, or several such sets; it has {found}")
    (prefix,) = prefixes
    layers, others = {}, []
    for key, a in state.items():
        match = re.fullmatch(rf"{re.escape(prefix)}layers\.(\d+)\.(.+)", key)
        if match:
            layers.setdefault(int(match[1]), {})[match[2]] = a
        else:
            others.append(key)
    if sorted(layers) != list(range(len(layers))):
        raise FileError(f"{path} has the layers {sorted(layers)}, not 0 to {len(layers) - 1}")
    return [layers[l] for l in range(len(layers))], others


def dtype_of(arrays):
    """float32 if all are, else float64."""
    return np.dtype(np.float32 if all(a.dtype == np.float32 for a in arrays) else np.float64)


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


def _safetensors(path):
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise FileError(f"{path} is damaged or no safetensors file of floats ({error})") from None


def _npz(path):
    """Arrays of an npz file; the size that each claims is compared with its bytes before memory is taken."""
    found, limit = {}, 64 * os.path.getsize(path) + 2**20
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(record.file_size for record in archive.infolist()) > limit:
                raise FileError(f"{path} would be more than 64 times as large unpacked; no arrays of numbers are")
            for record in archive.infolist():
                data = archive.read(record)
                if len(data) != record.file_size or not record.filename.endswith(".npy"):
                    raise FileError(f"{path} is no npz file: it has a record {record.filename!r:.60}")
                found[record.filename.removesuffix(".npy")] = _npy(data)
    except FileError as error:
        raise FileError(str(error) if str(path) in str(error) else f"{path} cannot be read: {error}") from None
    except (ValueError, OSError, EOFError, RuntimeError, SyntaxError, TypeError, zipfile.BadZipFile, MemoryError) as error:
        raise FileError(f"{path} is damaged or no npz file ({type(error).__name__}: {error})") from None
    return found


def _npy(data):
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise FileError(f"an array of npy version {version}")
    shape, fortran, dtype = read[version](file)
    if dtype.hasobject or dtype.kind not in "fiub":
        raise FileError(f"an array of dtype {dtype}; only numbers are read")
    rest = data[file.tell() :]
    count = 1
    for n in shape:
        count *= n
    if len(rest) != count * dtype.itemsize:
        raise FileError(f"an array of shape {shape} and {dtype} with {len(rest)} bytes")
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if fortran else "C")
