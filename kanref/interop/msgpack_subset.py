"""msgpack as flax.serialization writes it: nested maps with arrays as extensions of type 1. Read and written without flax.

    dumps({"layers": {0: {"bias": array}}})       the same bytes as flax.serialization.msgpack_serialize
    loads(data)

Nothing but None, booleans, numbers, texts, bytes, lists, maps and arrays can arise; sizes are compared with the bytes that are
there before memory is taken, values are counted, and arrays hold no arrays. Arrays in pieces (flax splits those of more than
1 GiB) are not read.
"""

import math
import os
import struct

import numpy as np

MAX_DEPTH = 40
MAX_BYTES = 2**31
MAX_VALUES = 2 * 10**5
ARRAY, SCALAR = 1, 3  # flax's types of extensions
DTYPES = {"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"}
SIZES = {  # codes with a size of so many bytes after them: kind, bytes of the size
    0xC4: ("bin", 1), 0xC5: ("bin", 2), 0xC6: ("bin", 4), 0xC7: ("ext", 1), 0xC8: ("ext", 2), 0xC9: ("ext", 4),
    0xD9: ("str", 1), 0xDA: ("str", 2), 0xDB: ("str", 4), 0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2),
    0xDF: ("map", 4),
}  # fmt: skip
FORMS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
WORDS = {0xC0: None, 0xC2: False, 0xC3: True}


def load(path):
    """The value in a file."""
    if os.path.getsize(path) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    with open(path, "rb") as file:
        return loads(file.read())


def loads(data):
    """The value of msgpack bytes; ValueError for all that is damaged."""
    return _Reader(data).whole()


class _Reader:
    """extended: whether the data are those of an extension, which can hold no other."""

    def __init__(self, data, extended=False):
        self.data, self.place, self.depth, self.count, self.extended = memoryview(data), 0, 0, 0, extended

    def whole(self):
        value = self.value()
        if self.place != len(self.data):
            raise ValueError(f"{len(self.data) - self.place} bytes follow the end")
        return value

    def take(self, count):
        if count > len(self.data) - self.place:
            raise ValueError("the data end too early")
        self.place += count
        return bytes(self.data[self.place - count : self.place])

    def value(self):
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
        self.count += 1
        if self.count > MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values; no network has so many arrays")
        value = self.of_code(self.take(1)[0])
        self.depth -= 1
        return value

    def of_code(self, code):
        if code < 0x80 or code >= 0xE0:
            return code if code < 0x80 else code - 0x100
        if code < 0xC0:
            kind, size = ("map", code & 15) if code < 0x90 else ("list", code & 15) if code < 0xA0 else ("str", code & 31)
        elif code in WORDS:
            return WORDS[code]
        elif code in FORMS:
            return struct.unpack(FORMS[code], self.take(struct.calcsize(FORMS[code])))[0]
        elif 0xD4 <= code <= 0xD8:
            kind, size = "ext", 1 << (code - 0xD4)
        elif code in SIZES:
            kind, width = SIZES[code]
            size = int.from_bytes(self.take(width), "big")
        else:
            raise ValueError(f"the code {code:#x} is not msgpack")
        return getattr(self, f"_{kind}")(size)

    def _bin(self, size):
        return self.take(size)

    def _str(self, size):
        return self.take(size).decode("utf-8")

    def _list(self, size):
        return [self.value() for _ in range(size)]

    def _map(self, size):
        found = {}
        for _ in range(size):
            key = self.value()
            if not isinstance(key, str | int) or key in found:
                raise ValueError("a map with a key that comes twice, or is neither text nor integer")
            found[key] = self.value()
        if "__msgpack_chunked_array__" in found:
            raise ValueError("an array in pieces, as flax writes those of more than 1 GiB, is not read")
        return found

    def _ext(self, size):
        kind = self.take(1)[0]
        if kind not in (ARRAY, SCALAR) or self.extended:
            raise ValueError("an extension in another" if self.extended else f"an extension of type {kind}; arrays have {ARRAY}")
        match _Reader(self.take(size), extended=True).whole():
            case [list(shape), str(name), bytes(numbers)] if all(isinstance(n, int) and 0 <= n < 2**48 for n in shape):
                return _array(shape, name, numbers)
        raise ValueError("an array without shape, type and bytes")


def _array(shape, name, data):
    if name not in DTYPES and name != "bfloat16":
        raise ValueError(f"an array of type {name!r:.40}")
    dtype = np.dtype("u2" if name == "bfloat16" else name).newbyteorder("<")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape!r:.60} and type {name} with {len(data)} bytes")
    a = np.frombuffer(data, dtype).reshape(shape)
    return (a.astype(np.uint32) << 16).view(np.float32) if name == "bfloat16" else a


# ------------------------------------------------------------------------------------------------------------- writing


def dumps(value):
    """msgpack bytes of nested dictionaries (keys: texts or integers) of arrays, numbers and texts."""
    if isinstance(value, dict):
        parts = (dumps(part) for pair in value.items() for part in pair)
        return _head(len(value), 0x80, 16, (None, 0xDE, 0xDF)) + b"".join(parts)
    if isinstance(value, str):
        data = value.encode("utf-8")
        return _head(len(data), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + data
    if isinstance(value, int) and 0 <= value < 2**32:
        return bytes([value]) if value < 128 else _head(value, 0, 0, (0xCC, 0xCD, 0xCE))
    if isinstance(value, np.ndarray) and value.dtype.name in DTYPES:
        numbers = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
        shape = bytes([0x90 + value.ndim]) + b"".join(map(dumps, value.shape))
        data = b"\x93" + shape + dumps(value.dtype.name) + _head(len(numbers), 0, 0, (0xC4, 0xC5, 0xC6)) + numbers
        exact = {1 << n: bytes([0xD4 + n]) for n in range(5)}
        return (exact.get(len(data)) or _head(len(data), 0, 0, (0xC7, 0xC8, 0xC9))) + bytes([ARRAY]) + data
    raise TypeError(f"only dictionaries, arrays, texts and integers are written, but one is {type(value).__name__}")


def _head(size, fixed, below, codes):
    """A code with a size in it, or followed by it in 1, 2 or 4 bytes."""
    if size < below:
        return bytes([fixed + size])
    for code, form in zip(codes, (">B", ">H", ">I")):
        if code is not None and size < 256 ** struct.calcsize(form):
            return bytes([code]) + struct.pack(form, size)
    raise ValueError("msgpack holds at most 4 GiB in one piece")
