"""Images of ten classes: scikit-learn's digits, and IDX files as MNIST and Fashion-MNIST come in.

    images = data.images.digits()
    training, validation, test = images.split((200, 400), seed=0)
    training.X, training.labels                     (1197, 64) in [-1, 1], (1197,) from 0 to 9

    training, test = data.images.idx_images("mnist")        the four files of the user's folder

An IDX file is: two zero bytes, a byte for the type, a byte for the number of dimensions, the sizes as big-endian 32-bit
unsigned integers, then the entries, big-endian, the last index running fastest (Y. LeCun, C. Cortes and C. Burges, The MNIST
database of handwritten digits). Nothing is allocated because a header says so: entries are read as far as the file has them.
"""

import gzip
import math
import os
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from kanref import arrays as border

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 32
CHUNK = 2**20  # bytes that are asked for at once
CLASSES = 10
PARTS = {"training": "train", "test": "t10k"}
KINDS = {"images": 3, "labels": 1}  # dimensions


@dataclass(frozen=True, eq=False)
class Images:
    """pixels (N, height, width) from 0 to `white`, labels (N,) from 0 to 9."""

    pixels: np.ndarray
    labels: np.ndarray
    white: int = 255

    def __len__(self):
        return len(self.labels)

    @property
    def X(self):
        """(N, height width), row by row, black at -1 and white at 1: the usual domain of the knots."""
        return self.pixels.reshape(len(self), -1) * (2 / self.white) - 1

    def __getitem__(self, rows):
        """Some of the images; rows: a slice or an index array."""
        return replace(self, pixels=self.pixels[rows], labels=self.labels[rows])

    def split(self, sizes, seed=0):
        """All other images, then parts of so many: a permutation by `seed` (an integer or a Generator), cut from its end.

        Raises ValueError if nothing would be left.
        """
        sizes = [border.integer(size, f"sizes[{k}]", 1) for k, size in enumerate(sizes)]
        if sum(sizes) >= len(self):
            raise ValueError(f"sizes {sizes} leave nothing of {len(self)} images; ask for less than all of them")
        order = np.random.default_rng(seed).permutation(len(self))
        return tuple(self[rows] for rows in np.split(order, len(self) - np.cumsum(sizes[::-1])[::-1]))


def digits():
    """The 1797 handwritten digits of 8 x 8 pixels that come with scikit-learn (E. Alpaydin and C. Kaynak, Optical Recognition
    of Handwritten Digits, UCI repository, its test part). ImportError without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "the digits come with scikit-learn, which is not installed; `pip install 'kanref[digits]'`, or "
            "`pip install scikit-learn`"
        ) from error
    found = load_digits()
    return Images(found.images.astype(np.uint8), found.target.astype(np.int64), white=16)


# ------------------------------------------------------------------------------------------------------- one IDX file


def read_idx(path):
    """The array in an IDX file, in the machine's byte order; a gzip stream is recognised by its first bytes, not by its name.

    All six types of the format are read: uint8, int8, int16, int32, float32, float64.
    Raises ValueError that names the file for whatever is no IDX file or does not hold exactly what its header says, OSError
    for a file that cannot be opened.
    """
    with _opened(path) as file:
        head = _read(file, 4)
        if len(head) < 4 or head[:2] != b"\0\0":
            raise ValueError(f"{path} must begin with two zero bytes, as IDX files do, but it begins with {_bytes(head)}")
        code, count = head[2:]
        if code not in TYPES:
            known = ", ".join(f"0x{known:02x} {np.dtype(name).name}" for known, name in TYPES.items())
            raise ValueError(f"{path} has entries of type 0x{code:02x}, which is none of the format's: {known}")
        if not 1 <= count <= MAX_DIMENSIONS:
            raise ValueError(f"{path} must have from 1 to {MAX_DIMENSIONS} dimensions, but its header says {count}")
        sizes = _read(file, 4 * count)
        if len(sizes) < 4 * count:
            raise ValueError(f"{path} ends within its header: {count} sizes take {4 * count} bytes, but {len(sizes)} are there")
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        if 0 in shape:
            raise ValueError(f"{path} holds nothing: its header says {_times(shape)} entries")
        kind = np.dtype(TYPES[code])
        wanted = math.prod(shape) * kind.itemsize
        entries = _read(file, wanted + 1)  # one more, to see that the file ends there
    if len(entries) != wanted:
        there = f"{len(entries)} are there" if len(entries) < wanted else "more follow"
        hint = "it was not loaded completely" if len(entries) < wanted else "it is another file, or a damaged one"
        raise ValueError(f"{path} must hold {wanted} bytes of {_times(shape)} {kind.name} entries, but {there}; {hint}")
    return np.frombuffer(entries, kind).reshape(shape).astype(kind.newbyteorder("="), copy=False)


@contextmanager
def _opened(path):
    """A file, unpacked if it is a gzip stream; what is wrong with the stream is a ValueError."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=file) if packed else file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip stream ({error}); load it again") from None


def _read(file, wanted):
    """As many bytes as wanted, or as there are."""
    found = bytearray()
    while len(found) < wanted and (chunk := file.read(min(CHUNK, wanted - len(found)))):
        found += chunk
    return found


def _bytes(head):
    return head.hex(" ") or "nothing"


def _times(shape):
    return " x ".join(map(str, shape))


# -------------------------------------------------------------------------------------------------------- four of them


def idx_images(folder):
    """(training, test) `Images` from a folder of the four files of MNIST, Fashion-MNIST, KMNIST, ... under their usual names:

        train-images-idx3-ubyte   train-labels-idx1-ubyte   t10k-images-idx3-ubyte   t10k-labels-idx1-ubyte

    or with "." before "idx", and each with ".gz" or without; the first one that is there counts, in this order.
    Raises FileNotFoundError for a file that is missing, ValueError for one that is not what it should be; see `read_idx`.
    """
    training, test = (_part(folder, part) for part in PARTS)
    if training.pixels.shape[1:] != test.pixels.shape[1:]:
        raise ValueError(
            f"the images in {folder} must have one size, but those for training are {_times(training.pixels.shape[1:])} and "
            f"those of the test {_times(test.pixels.shape[1:])}; files of different data sets are in one folder"
        )
    return training, test


def _part(folder, part):
    """`Images` of one part."""
    pixels, labels = (_entries(_path(folder, part, kind), kind) for kind in KINDS)
    if len(pixels) != len(labels):
        raise ValueError(
            f"{folder} has {len(pixels)} {part} images, but {len(labels)} labels for them; they are of different data sets"
        )
    if labels.max() >= CLASSES:
        row = int(np.argmax(labels >= CLASSES))
        raise ValueError(
            f"the {part} labels in {folder} must lie in 0..{CLASSES - 1}, but entry {row} is {labels[row]}; "
            "EMNIST with letters, for one, has more classes"
        )
    return Images(pixels, labels.astype(np.int64))


def _entries(path, kind):
    """The array of one of the four files, of the right type and dimensions."""
    entries = read_idx(path)
    if entries.dtype != np.uint8 or entries.ndim != KINDS[kind]:
        raise ValueError(
            f"{path} must hold {kind}, uint8 of {KINDS[kind]} dimension{'s' * (KINDS[kind] > 1)}, but it holds {entries.dtype} "
            f"{_times(entries.shape)}; are files interchanged?"
        )
    return entries


def _path(folder, part, kind):
    """The first of the usual names that is there."""
    stems = [f"{PARTS[part]}-{kind}{mark}idx{KINDS[kind]}-ubyte" for mark in "-."]
    names = [stem + end for end in ("", ".gz") for stem in stems]
    for name in names:
        if os.path.isfile(path := os.path.join(folder, name)):
            return path
    raise FileNotFoundError(f"{folder} has none of {', '.join(names)}, the {part} {kind}; put that file there")
