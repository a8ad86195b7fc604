"""Files of torch.save (zip format, torch >= 1.6) without torch: arrays in dictionaries, nothing else, nothing executed.

    read("model.pt")                        {"layers.0.grid": array, ...}, an array, or None
    write("model.pt", {"layers.0.grid": a})

The file is a zip archive, uncompressed: `<name>/data.pkl`, a pickle in which every tensor is a reference to a storage with
offset, size and strides; `<name>/data/<key>`, the storages' bytes. A pickle is a program, so the interpreter here knows only
the 31 opcodes that torch.save writes for state dicts, and of the names in them only those of `_GLOBALS`. Names become
inert constants: no module is imported, no object is called. Memory is bounded by the size of the file: the archive must not
be compressed, records must not overlap, a tensor must not be larger than its storage, and what a value says of itself in an
error is cut short before it is put together, as a tuple may hold one tuple twice, and this one another twice, and so on.
"""

import io
import math
import os
import re
import reprlib
import struct
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

from kanref.io import FileError, write_atomically

MAX_PICKLE = 2**20  # bytes of data.pkl; a tensor takes about 150
MAX_RECORDS = 10**4
MAX_AXES = 8
DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",  # the upper halves of float32 numbers
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
WRITTEN = {np.dtype(np.float64): "DoubleStorage", np.dtype(np.float32): "FloatStorage", np.dtype(np.int64): "LongStorage"}


DAMAGES = ValueError, OSError, EOFError, RuntimeError, OverflowError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile


class _Name(str):
    """A name in a pickle, "module name": text that is never looked up."""


ORDERED, TENSOR, PARAMETER = map(
    _Name, ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
)
_GLOBALS = {str(name): name for name in (ORDERED, TENSOR, PARAMETER)} | {f"torch {s}": _Name(f"torch {s}") for s in DTYPES}


@dataclass(frozen=True, eq=False)
class _Storage:
    """A reference to the record data/<key> with `count` elements."""

    kind: str
    key: str
    count: int


def regular(path):
    """The path of a file that can be read: FileNotFoundError if there is none, FileError for folders, pipes, devices and files
    without a byte."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path}")
    if not os.path.isfile(path):
        raise FileError(f"{path} is {'a folder' if os.path.isdir(path) else 'no regular file'}; name a file")
    if not os.path.getsize(path):
        raise FileError(f"{path} is empty; save or copy it again")
    return path


def records(path):
    """The names of an archive's records; None if the file is none, or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except DAMAGES:
        return None


def is_torch_zip(path):
    """Whether a file is an archive with a record <name>/data.pkl."""
    return any(name.endswith("/data.pkl") for name in records(path) or ())


def read(path):
    """What torch.save wrote: None, numbers, texts, arrays (read-only), lists, tuples and dictionaries of them.

    float16 and bfloat16 become float32, without loss. Raises FileNotFoundError, or FileError for everything that is damaged,
    hostile, or holds objects that are no tensors.
    """
    try:
        with zipfile.ZipFile(regular(path)) as archive:
            top = _checked(archive, path)
            order = archive.read(f"{top}/byteorder") if f"{top}/byteorder" in archive.NameToInfo else b"little"
            if order not in (b"little", b"big"):
                raise FileError(f"{path} is damaged: its byte order is {order[:20]!r}, not little or big")
            storages = {}

            def tensor(*parts):
                return _tensor(archive, top, {b"little": "<", b"big": ">"}[order], storages, *parts)

            return _Machine(archive.read(f"{top}/data.pkl"), tensor).run()
    except FileError as error:
        raise FileError(str(error) if str(path) in str(error) else f"{path} cannot be read: {error}") from None
    except zipfile.BadZipFile as error:
        raise FileError(f"{path} is {_what_else(path)} ({error})") from None
    except FileNotFoundError:
        raise
    except DAMAGES as error:
        raise FileError(f"{path} is damaged ({type(error).__name__}: {error})") from None


def read_state(path):
    """{name: array} from a saved state dict, also one inside {"state_dict": ...}, {"model_state_dict": ...} or {"model": ...}."""
    state = read(path)
    for wrapper in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict):
        raise FileError(f"{path} holds no state dict, but {type(state).__name__}; save model.state_dict()")
    if odd := [name for name, a in state.items() if not isinstance(name, str) or not isinstance(a, np.ndarray)]:
        raise FileError(f"{path} is no state dict: {odd[0]!r:.60} is no tensor; save model.state_dict()")
    return state


def shown(value):
    """repr(value) in at most 60 characters, however many values it holds."""
    return reprlib.repr(value)[:60]


def _what_else(path):
    with open(path, "rb") as file:
        start = file.read(2)
    if start[:1] == b"\x80":
        return "a bare pickle or in torch's format before 1.6, which is not read; load it in torch and save it again"
    return "a truncated or damaged zip archive" if start == b"PK" else "no zip archive, so torch.save did not write it"


def _checked(archive, path):
    """The top folder of an archive whose records are plain: not compressed, not encrypted, each once, together not larger
    than the file, and with tame names."""
    records = archive.infolist()
    if len(records) > MAX_RECORDS:
        raise FileError(f"the archive has {len(records)} records, more than {MAX_RECORDS}")
    for record in records:
        name = record.orig_filename
        if re.search(r"[\\\0-\x1f:]", name) or name.startswith("/") or ".." in name.split("/"):
            raise FileError(f"the archive has a record named {name!r:.80}, which leaves the archive's folder")
        if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
            raise FileError(f"record {name!r:.80} is compressed, which torch.save never does")
        if record.flag_bits & 1:
            raise FileError(f"record {name!r:.80} is encrypted")
    if len({record.filename for record in records}) < len(records):
        raise FileError("two records have the same name")
    if sum(record.file_size for record in records) > os.path.getsize(path):
        raise FileError("the records claim more bytes than the file has")
    tops = [record.filename.removesuffix("/data.pkl") for record in records if record.filename.endswith("/data.pkl")]
    if len(tops) != 1 or "/" in tops[0]:
        raise FileError("it is a zip archive without one record <name>/data.pkl, so torch.save did not write it")
    if strange := [record.filename for record in records if not record.filename.startswith(f"{tops[0]}/")]:
        raise FileError(f"record {strange[0]!r:.80} is outside the folder {tops[0]!r}")
    if archive.getinfo(f"{tops[0]}/data.pkl").file_size > MAX_PICKLE:
        raise FileError(f"data.pkl has more than {MAX_PICKLE} bytes; no KAN needs that")
    return tops[0]


def _tensor(archive, top, order, storages, storage, offset, size, stride):
    """The view of a storage; the storage is read once, after all sizes have been checked."""
    if not isinstance(storage, _Storage):
        raise FileError("a tensor without a storage")
    whole = lambda a: isinstance(a, int) and not isinstance(a, bool) and a >= 0
    axes = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= MAX_AXES
    if not (whole(offset) and axes and all(map(whole, size + stride))):
        raise FileError(f"a tensor of size {shown(size)}, stride {shown(stride)} and offset {shown(offset)}")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride)) if count else offset - 1
    if count > storage.count or last >= storage.count:
        raise FileError(f"a tensor of size {size!r:.60} does not fit in its storage of {storage.count} numbers")
    dtype = np.dtype(DTYPES[storage.kind]).newbyteorder(order)
    if (kept := storages.get(storage.key)) is None:
        name = f"{top}/data/{storage.key}"
        if name not in archive.NameToInfo:
            raise FileError(f"storage {storage.key!r:.30} is missing")
        if (there := archive.getinfo(name).file_size) != storage.count * dtype.itemsize:
            raise FileError(f"storage {storage.key!r:.30} has {there} bytes, but {storage.count} numbers of {dtype} are claimed")
        data = np.frombuffer(archive.read(name), dtype)
        data = data.astype(dtype.newbyteorder("="), copy=False)
        if storage.kind == "BFloat16Storage":
            data = (data.astype(np.uint32) << 16).view(np.float32)
        kept = storages[storage.key] = storage, data.astype(np.float32) if data.dtype == np.float16 else data
    claimed, data = kept
    if (claimed.kind, claimed.count) != (storage.kind, storage.count):
        raise FileError(f"storage {storage.key!r:.30} is claimed as two types")
    steps = [step * data.itemsize if n > 1 and count else 0 for n, step in zip(size, stride)]
    return np.lib.stride_tricks.as_strided(data[offset:], size, steps, writeable=False)


class _Machine:
    """An interpreter of the opcodes that torch.save writes (pickle protocol 2).

    tensor(storage, offset, size, stride): called for every tensor record. Values are built by this class alone.
    """

    def __init__(self, data, tensor):
        self.data, self.place, self.tensor = data, 0, tensor
        self.stack, self.marks, self.memo = [], [], {}

    def run(self):
        """The value that the program leaves at STOP."""
        try:
            while (code := self.take(1)) != b".":
                step = self.STEPS.get(code)
                if step is None:
                    raise FileError(f"its pickle has the opcode {code!r}, which torch.save does not write for state dicts")
                step(self)
            return self.pop()
        except (IndexError, struct.error, UnicodeDecodeError):
            raise FileError("its pickle is damaged or truncated") from None

    def take(self, count):
        if not 0 <= count <= len(self.data) - self.place:
            raise FileError("its pickle is truncated")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self):
        end = self.data.index(b"\n", self.place) if b"\n" in self.data[self.place : self.place + 200] else -1
        text = self.take(end - self.place if end >= 0 else -1).decode("utf-8")
        self.place += 1
        return text

    def push(self, value):
        self.stack.append(value)

    def pop(self):
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise FileError("its pickle is damaged: it takes more than it has put")
        return self.stack.pop()

    def pop_mark(self):
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_last(self, count):
        return tuple(reversed([self.pop() for _ in range(count)]))

    def top(self, kind):
        """The value on top, which must be of a kind."""
        if not isinstance(self.stack[-1], kind):
            raise FileError(f"its pickle is damaged: it fills {type(self.stack[-1]).__name__} as {kind.__name__}")
        return self.stack[-1]

    def put(self, index):
        self.memo[index] = self.stack[-1]

    def get(self, index):
        if index not in self.memo:
            raise FileError("its pickle is damaged: it refers to what it has not kept")
        self.push(self.memo[index])

    def long(self):
        if (size := self.number("<B")) > 8:
            raise FileError(f"its pickle has an integer of {size} bytes")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def named(self):
        name = f"{self.line()} {self.line()}"
        if name not in _GLOBALS:
            raise FileError(
                f"its pickle names {name.replace(' ', '.', 1)!r:.100}, which is no tensor; nothing was executed. Whole models "
                "and optimisers are not read: save model.state_dict() in torch"
            )
        self.push(_GLOBALS[name])

    def persistent(self):
        parts = self.pop()
        if not (isinstance(parts, tuple) and len(parts) == 5 and parts[0] == "storage" and isinstance(parts[1], _Name)):
            raise FileError("its pickle is damaged: a reference that is no storage")
        _, name, key, _, count = parts
        kind = name.removeprefix("torch ")
        if kind not in DTYPES or not isinstance(key, str) or not re.fullmatch(r"[0-9A-Za-z_]{1,40}", key):
            raise FileError(f"a storage of type {kind!r:.40} with the key {shown(key)}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise FileError(f"a storage of {shown(count)} numbers")
        self.push(_Storage(kind, key, count))

    def reduce(self):
        """The few calls of torch.save, recognised by name: an empty dictionary, a tensor, a parameter."""
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise FileError("its pickle calls what is no function; nothing was executed")
        if name == ORDERED and not arguments:
            self.push({})
        elif name == TENSOR and len(arguments) in (6, 7):
            self.push(self.tensor(*arguments[:4]))
        elif name == PARAMETER and len(arguments) == 3 and isinstance(arguments[0], np.ndarray):
            self.push(arguments[0])
        else:
            raise FileError(f"its pickle calls {name.replace(' ', '.', 1)} with {len(arguments)} strange arguments")

    def build(self):
        """The attributes of an OrderedDict ("_metadata": versions of modules), which say nothing about numbers."""
        self.pop()
        self.top(dict)

    def items(self, flat):
        target = self.top(dict)
        if len(flat) % 2:
            raise FileError("its pickle is damaged: a key without a value")
        for key, value in zip(flat[::2], flat[1::2]):
            if not isinstance(key, str | int):
                raise FileError(f"a dictionary with a key of type {type(key).__name__}")
            target[key] = value

    def appended(self, values):
        self.top(list).extend(values)

    STEPS = {
        b"\x80": lambda m: m.protocol(),
        b"c": lambda m: m.named(),
        b"R": lambda m: m.reduce(),
        b"b": lambda m: m.build(),
        b"Q": lambda m: m.persistent(),
        b"(": lambda m: m.marks.append(len(m.stack)),
        b")": lambda m: m.push(()),
        b"]": lambda m: m.push([]),
        b"}": lambda m: m.push({}),
        b"t": lambda m: m.push(tuple(m.pop_mark())),
        b"\x85": lambda m: m.push(m.pop_last(1)),
        b"\x86": lambda m: m.push(m.pop_last(2)),
        b"\x87": lambda m: m.push(m.pop_last(3)),
        b"s": lambda m: m.items(m.pop_last(2)),
        b"u": lambda m: m.items(m.pop_mark()),
        b"a": lambda m: m.appended(m.pop_last(1)),
        b"e": lambda m: m.appended(m.pop_mark()),
        b"q": lambda m: m.put(m.number("<B")),
        b"r": lambda m: m.put(m.number("<I")),
        b"h": lambda m: m.get(m.number("<B")),
        b"j": lambda m: m.get(m.number("<I")),
        b"X": lambda m: m.push(m.take(m.number("<I")).decode("utf-8")),
        b"K": lambda m: m.push(m.number("<B")),
        b"M": lambda m: m.push(m.number("<H")),
        b"J": lambda m: m.push(m.number("<i")),
        b"\x8a": lambda m: m.long(),
        b"G": lambda m: m.push(m.number(">d")),
        b"N": lambda m: m.push(None),
        b"\x88": lambda m: m.push(True),
        b"\x89": lambda m: m.push(False),
    }

    def protocol(self):
        if (found := self.number("<B")) != 2:
            raise FileError(f"its pickle has protocol {found}; torch.save writes 2 unless told otherwise")


# ------------------------------------------------------------------------------------------------------------- writing


def write(path, value):
    """Write {name: array}, an array or None so that torch.load(path), also with weights_only=True, returns it as tensors.

    Arrays are float64, float32 or int64. The same value gives the same bytes; the file appears whole or not at all.
    """
    storages, out = [], [b"\x80\x02"]

    def text(string):
        data = string.encode("utf-8")
        return b"X" + struct.pack("<I", len(data)) + data

    def integer(n):
        return b"J" + struct.pack("<i", n) if n < 2**31 else b"\x8a\x08" + struct.pack("<q", n)

    def integers(shape):
        return b"(" + b"".join(map(integer, shape)) + b"t"

    def name(known):
        return b"c" + "\n".join((*known.split(" "), "")).encode()

    empty = name(ORDERED) + b")R"

    def tensor(a):
        a = np.asarray(a)
        if a.dtype not in WRITTEN:
            raise TypeError(f"arrays must be float64, float32 or int64, but one has dtype {a.dtype}; convert it first")
        a = np.ascontiguousarray(a).reshape(a.shape)  # which would make a vector of a single number
        kind, key = _GLOBALS[f"torch {WRITTEN[a.dtype]}"], str(len(storages))
        storages.append(a.astype(a.dtype.newbyteorder("<"), copy=False).tobytes())
        storage = b"(" + text("storage") + name(kind) + text(key) + text("cpu") + integer(a.size) + b"tQ"
        steps = [math.prod(a.shape[i + 1 :]) for i in range(a.ndim)]
        return name(TENSOR) + b"(" + storage + integer(0) + integers(a.shape) + integers(steps) + b"\x89" + empty + b"tR"

    if value is None:
        out.append(b"N")
    elif isinstance(value, dict):
        out += [empty, b"(", *(part for key, a in value.items() for part in (text(key), tensor(a))), b"u"]
    else:
        out.append(tensor(value))
    records = {"data.pkl": b"".join([*out, b"."]), "byteorder": b"little"}
    records |= {f"data/{key}": data for key, data in enumerate(storages)} | {"version": b"3\n"}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for record, data in records.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{record}"), data)
    write_atomically(path, file.getvalue())
