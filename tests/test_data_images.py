"""Images: the digits as scikit-learn has them, and IDX files, good ones and all kinds of bad ones."""

import gzip
import struct
import sys
import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref.data import images

SIZES = {"train": 5, "t10k": 3}


def idx(code, a):
    """The bytes of an IDX file."""
    return struct.pack(f">HBB{a.ndim}I", 0, code, a.ndim, *a.shape) + a.astype(np.dtype(images.TYPES[code])).tobytes()


def four_files(folder, mark="-", end="", **replaced):
    """Small files under the names of MNIST's; replaced: bytes for train_images, t10k_labels, ..., None to leave one out."""
    rng, arrays = np.random.default_rng(0), {}
    for part, count in SIZES.items():
        arrays[f"{part}-images"] = rng.integers(0, 256, (count, 4, 3))
        arrays[f"{part}-labels"] = rng.integers(0, 10, count)
    for name, a in arrays.items():
        content = replaced.get(name.replace("-", "_"), idx(8, a))
        if content is not None:
            path = folder / f"{name}{mark}idx{a.ndim}-ubyte{end}"
            path.write_bytes(gzip.compress(content) if end else content)
    return arrays


# -------------------------------------------------------------------------------------------------------------- digits


def test_digits_are_in_the_domain_of_the_knots():
    found = images.digits()
    assert found.pixels.shape == (1797, 8, 8) and found.X.shape == (1797, 64)
    assert (found.X.min(), found.X.max()) == (-1, 1)
    assert_allclose(found.X[:, 8 * 3 + 2], found.pixels[:, 3, 2] / 8 - 1, atol=1e-15)
    assert_array_equal(np.unique(found.labels), np.arange(10))


def test_digits_without_scikit_learn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'kanref\[digits\]'"):
        images.digits()


def test_parts_are_disjoint_complete_and_the_same_every_time():
    numbered = images.Images(np.arange(50).reshape(50, 1, 1), np.arange(50) % 10, white=49)
    parts = numbered.split((10, 15), seed=3)
    assert [len(part) for part in parts] == [25, 10, 15]
    found = np.concatenate([part.pixels.ravel() for part in parts])
    assert_array_equal(np.sort(found), np.arange(50))
    assert_array_equal(np.concatenate([part.labels for part in parts]), found % 10)
    assert_array_equal(found, np.concatenate([part.pixels.ravel() for part in numbered.split((10, 15), seed=3)]))
    assert (found != np.concatenate([part.pixels.ravel() for part in numbered.split((10, 15), seed=4)])).any()
    with pytest.raises(ValueError, match=r"sizes \[30, 20\] leave nothing of 50 images"):
        numbered.split((30, 20))


# ----------------------------------------------------------------------------------------------------------- IDX files


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("code", images.TYPES)
@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4), (1, 2, 1, 3)])
def test_every_type_of_the_format_is_read(tmp_path, code, shape, end):
    kind = np.dtype(images.TYPES[code])
    span = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
    a = np.linspace(float(span.min) / 4, float(span.max) / 4, int(np.prod(shape))).reshape(shape).astype(kind)
    path = tmp_path / f"file{end}"
    path.write_bytes(gzip.compress(idx(code, a)) if end else idx(code, a))
    found = images.read_idx(path)
    assert found.dtype == kind.newbyteorder("=") and found.dtype.isnative and found.flags.writeable
    assert_array_equal(found, a)


def test_a_gzip_stream_is_known_by_its_bytes(tmp_path):
    (tmp_path / "packed").write_bytes(gzip.compress(idx(8, np.arange(5))))
    (tmp_path / "plain.gz").write_bytes(idx(8, np.arange(5)))
    for name in ("packed", "plain.gz"):
        assert_array_equal(images.read_idx(tmp_path / name), np.arange(5))


def test_files_longer_than_a_chunk(tmp_path):
    a = np.random.default_rng(0).integers(0, 256, (3, images.CHUNK // 2))
    (tmp_path / "long").write_bytes(idx(8, a))
    assert_array_equal(images.read_idx(tmp_path / "long"), a)


GOOD = idx(8, np.arange(12).reshape(3, 4))
BAD = {
    "empty": (b"", "two zero bytes, as IDX files do, but it begins with nothing"),
    "short": (GOOD[:3], "but it begins with 00 00 08"),
    "text": (b"label,pixel\n", "but it begins with 6c 61 62 65"),
    "type": (b"\0\0\x0a\x01" + bytes(8), "type 0x0a, which is none of the format's: 0x08 uint8, 0x09 int8, 0x0b int16"),
    "no dimensions": (b"\0\0\x08\0" + bytes(8), "from 1 to 32 dimensions, but its header says 0"),
    "dimensions": (b"\0\0\x08\xff" + bytes(2000), "from 1 to 32 dimensions, but its header says 255"),
    "header": (GOOD[:9], "ends within its header: 2 sizes take 8 bytes, but 5 are there"),
    "nothing": (struct.pack(">HBBII", 0, 8, 2, 0, 28), "holds nothing: its header says 0 x 28 entries"),
    "truncated": (GOOD[:-1], "12 bytes of 3 x 4 uint8 entries, but 11 are there; it was not loaded completely"),
    "trailing": (GOOD + b"\0", "12 bytes of 3 x 4 uint8 entries, but more follow"),
    "half": (idx(14, np.ones(3))[:-4], "24 bytes of 3 float64 entries, but 20 are there"),
}


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_by_name(tmp_path, case, end):
    content, complaint = BAD[case]
    path = tmp_path / f"broken{end}"
    path.write_bytes(gzip.compress(content) if end else content)
    with pytest.raises(ValueError) as error:
        images.read_idx(path)
    assert complaint in str(error.value) and str(error.value).startswith(str(path))


@pytest.mark.parametrize("damage", [lambda z: z[:-10], lambda z: z[:30] + bytes([z[30] ^ 255]) + z[31:], lambda z: z[:15]])
def test_damaged_gzip_streams_are_refused(tmp_path, damage):
    packed = gzip.compress(idx(8, np.random.default_rng(0).integers(0, 256, 500)))
    (tmp_path / "damaged.gz").write_bytes(damage(packed))
    with pytest.raises(ValueError, match="damaged.gz is a damaged gzip stream"):
        images.read_idx(tmp_path / "damaged.gz")


def refused_within_bounds(path, message):
    """A ValueError, before more than a few chunks of memory are taken."""
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        images.read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * images.CHUNK


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("sizes", [(2**32 - 1,) * 3, (60000, 28, 28), (2**32 - 1,)])
def test_huge_sizes_in_a_header_allocate_nothing(tmp_path, sizes, end):
    content = struct.pack(f">HBB{len(sizes)}I", 0, 14, len(sizes), *sizes) + bytes(100)
    path = tmp_path / f"huge{end}"
    path.write_bytes(gzip.compress(content) if end else content)
    refused_within_bounds(path, "float64 entries, but 100 are there")


def test_what_follows_a_small_header_is_not_unpacked(tmp_path):
    """A stream of 64 MB behind a header of 12 bytes of entries is left where it is."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(GOOD + bytes(2**26), 1))
    refused_within_bounds(path, "more follow")


# ------------------------------------------------------------------------------------------------------ four files


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("mark", "-.")
def test_the_usual_names_are_found(tmp_path, mark, end):
    arrays = four_files(tmp_path, mark, end)
    for part, found in zip(SIZES, images.idx_images(tmp_path)):
        assert_array_equal(found.pixels, arrays[f"{part}-images"])
        assert_array_equal(found.labels, arrays[f"{part}-labels"])
        assert found.labels.dtype == np.int64
        assert_allclose(found.X, arrays[f"{part}-images"].reshape(-1, 12) / 127.5 - 1, atol=1e-15)


def test_plain_files_come_before_packed_ones(tmp_path):
    four_files(tmp_path, end=".gz", t10k_labels=idx(8, np.array([1, 1, 1])))
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx(8, np.array([2, 2, 2])))
    assert_array_equal(images.idx_images(tmp_path)[1].labels, 2)


WRONG = {
    "missing": ({"t10k_labels": None}, FileNotFoundError, "has none of t10k-labels-idx1-ubyte, t10k-labels.idx1-ubyte, "),
    "labels beyond nine": ({"train_labels": idx(8, np.array([3, 1, 26, 0, 11]))}, ValueError, "but entry 2 is 26"),
    "counts": ({"t10k_labels": idx(8, np.arange(4))}, ValueError, "has 3 test images, but 4 labels for them"),
    "interchanged": ({"train_images": idx(8, np.arange(5))}, ValueError, "images, uint8 of 3 dimensions, but it holds uint8 5;"),
    "dimensions": ({"train_labels": idx(8, np.ones((5, 1)))}, ValueError, "must hold labels, uint8 of 1 dimension, but"),
    "type": ({"t10k_images": idx(13, np.ones((3, 4, 3)))}, ValueError, "but it holds float32 3 x 4 x 3;"),
    "size": ({"t10k_images": idx(8, np.ones((3, 4, 4)))}, ValueError, "those for training are 4 x 3 and those of the test 4 x 4"),
    "truncated": ({"train_images": idx(8, np.ones((5, 4, 3)))[:-7]}, ValueError, "train-images-idx3-ubyte must hold 60 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_folders_are_refused(tmp_path, case):
    replaced, kind, complaint = WRONG[case]
    four_files(tmp_path, **replaced)
    with pytest.raises(kind) as error:
        images.idx_images(tmp_path)
    assert complaint in str(error.value) and str(tmp_path) in str(error.value)
