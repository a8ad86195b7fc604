"""Files of torch.save without torch: what they hold, and what hostile ones cannot do."""

import io
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kanref.interop import torch_zip
from kanref.io import FileError

DATA = Path(__file__).parent / "data" / "interop"
SENTINEL = "executed"


def archive(path, program, records=None, top="a", compression=zipfile.ZIP_STORED):
    """An archive as torch.save's around any program; records {name: bytes} beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        with zipfile.ZipFile(path, "w", compression) as file:
            file.writestr(f"{top}/data.pkl", program)
            for name, data in (records or {}).items():
                file.writestr(name, data)
    return path


def text(string):
    return b"X" + struct.pack("<I", len(string)) + string.encode()


def number(n):
    return b"J" + struct.pack("<i", n) if abs(n) < 2**31 else b"\x8a\x08" + struct.pack("<q", n)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


ORDERED = b"ccollections\nOrderedDict\n"


def tensor(size, stride=None, offset=0, count=None, key="0", kind="DoubleStorage", extra=b""):
    """The opcodes of one tensor."""
    stride = [int(np.prod(size[i + 1 :])) for i in range(len(size))] if stride is None else stride
    count = int(np.prod(size)) if count is None else count
    storage = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(count) + b"tQ"
    parts = storage + number(offset) + numbers(size) + numbers(stride) + b"\x89" + ORDERED + b")R" + extra
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + parts + b"tR"


def program(body):
    return b"\x80\x02" + body + b"."


# --------------------------------------------------------------------------------------------------------- what is there


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3), (2, 3, 4)])
def test_what_is_written_is_read(tmp_path, shape, dtype):
    a = np.random.default_rng(0).normal(0, 50, shape).astype(dtype)
    torch_zip.write(tmp_path / "x.pt", {"a.b": a, "ü": a + np.ones((), dtype)})
    found = torch_zip.read(tmp_path / "x.pt")
    assert list(found) == ["a.b", "ü"] and found["a.b"].dtype == a.dtype
    assert_array_equal(found["a.b"], a, strict=True)
    assert_array_equal(found["ü"], np.asarray(a + np.ones((), dtype)), strict=True)
    for value in (None, a):
        torch_zip.write(tmp_path / "y.pt", value)
        assert_array_equal(torch_zip.read(tmp_path / "y.pt"), value)
    assert torch_zip.is_torch_zip(tmp_path / "x.pt") and not torch_zip.is_torch_zip(DATA / "pykan.json")


def test_the_same_value_gives_the_same_bytes(tmp_path):
    for name in "ab":
        torch_zip.write(tmp_path / name, {"w": np.arange(3.0)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_transposed_arrays_and_strides(tmp_path):
    a = np.arange(6.0).reshape(2, 3)
    torch_zip.write(tmp_path / "x", {"a": a.T})
    assert_array_equal(torch_zip.read(tmp_path / "x")["a"], a.T)
    body = tensor([3, 2], [1, 3], 0, 6)
    archive(tmp_path / "y", program(body), {"a/data/0": a.tobytes()})
    assert_array_equal(torch_zip.read(tmp_path / "y"), a.T)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("kind", "stored"),
    [("HalfStorage", "f2"), ("FloatStorage", "f4"), ("DoubleStorage", "f8"), ("IntStorage", "i4"), ("ShortStorage", "i2")]
    + [("CharStorage", "i1"), ("ByteStorage", "u1"), ("LongStorage", "i8"), ("BFloat16Storage", "bf16")],
)
def test_types_and_byte_orders(tmp_path, kind, stored, order):
    a = np.array([0, 1, 2, 96, 3.5])  # bfloat16 has 8 bits for them
    data = (a.astype("f4").view("u4") >> 16).astype("u2") if stored == "bf16" else a.astype(stored)
    data = data.astype(data.dtype.newbyteorder("<" if order == "little" else ">"))
    records = {"a/data/0": data.tobytes(), "a/byteorder": order}
    archive(tmp_path / "x", program(tensor([5], kind=kind)), records)
    found = torch_zip.read(tmp_path / "x")
    expected = a.astype("f4") if stored in ("f2", "bf16") else a.astype(stored)
    assert_array_equal(found, expected, strict=True)
    with pytest.raises((ValueError, RuntimeError)):
        found[0] = 1  # a view of the file's bytes


def test_parameters_wrappers_and_what_checkpoints_have_beside(tmp_path):
    one = tensor([2])
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + one + b"\x88" + ORDERED + b")RtR"
    state = b"}(" + text("w") + parameter + b"u"
    both = b"}(" + text("epoch") + b"M\xe8\x03" + text("loss") + b"G" + struct.pack(">d", 0.5)
    both += text("names") + b"](" + text("x") + b"N\x88eu" + text("state_dict") + state + b"s"
    archive(tmp_path / "x", program(both), {"a/data/0": np.arange(2.0).tobytes()})
    found = torch_zip.read(tmp_path / "x")
    assert (found["epoch"], found["loss"], found["names"]) == (1000, 0.5, ["x", None, True])
    assert_array_equal(torch_zip.read_state(tmp_path / "x")["w"], [0, 1])
    with pytest.raises(FileError, match="is no state dict: 'epoch' is no tensor"):
        archive(tmp_path / "y", program(b"}" + text("epoch") + b"K\x01s"))
        torch_zip.read_state(tmp_path / "y")
    with pytest.raises(FileError, match="holds no state dict, but list"):
        torch_zip.read_state(archive(tmp_path / "z", program(b"]")))


# ---------------------------------------------------------------------------------------------------------- pickle bombs


class Bomb:
    """Unpickled, it would call a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def bombs(folder):
    import builtins
    import os
    import subprocess

    touch = f"open({str(folder / SENTINEL)!r}, 'w').close()"
    command = f"touch {folder / SENTINEL}"
    yield "os.system", Bomb(os.system, command)
    yield "eval", Bomb(builtins.eval, touch)
    yield "exec", Bomb(builtins.exec, touch)
    yield "subprocess", Bomb(subprocess.getoutput, command)
    yield "getattr", Bomb(getattr, "", "join")
    yield "in a list", [1, Bomb(os.system, command)]
    yield "as a key", {Bomb(os.system, command): 1}
    yield "nested", Bomb(map, Bomb(eval, touch), [1])


def refused(path, match="."):
    with pytest.raises(FileError, match=match) as caught:
        torch_zip.read(path)
    assert not (path.parent / SENTINEL).exists()
    return str(caught.value)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", [name for name, _ in bombs(Path())])
def test_pickle_bombs_do_nothing(tmp_path, name, protocol):
    bomb = dict(bombs(tmp_path))[name]
    message = refused(archive(tmp_path / "x", pickle.dumps(bomb, protocol)))
    if protocol == 2:
        assert "which is no tensor; nothing was executed" in message


RAW = {
    "os.system by name": b"cposix\nsystem\n(" + text("touch executed") + b"tR",
    "system of an object": b"(" + text("touch executed") + b"ios\nsystem\n",
    "new object": b"cposix\nsystem\n(" + text("touch executed") + b"t\x81",
    "object": b"(cposix\nsystem\n" + text("touch executed") + b"o",
    "stack global": text("posix") + text("system") + b"\x93",
    "extension": b"\x82\x01",
    "text persistent id": b"Pabc\n",
    "bytes": b"B\x02\0\0\0ab",
    "a list called": b"])R",
    "a tuple called": b"))R",
    "a dictionary with arguments": ORDERED + b"(](tR",
    "torch.load": b"ctorch\nload\n(" + text("x") + b"tR",
    "a storage called": b"ctorch\nDoubleStorage\n)R",
    "a function inside torch": b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n",
    "a tensor without a storage": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\0))\x89NtR",
    "a tensor with few arguments": b"ctorch._utils\n_rebuild_tensor_v2\n(NtR",
    "a parameter of no tensor": b"ctorch._utils\n_rebuild_parameter\n(N\x88NtR",
    "state of a tensor": tensor([1]) + b"}b",
    "state of None": b"N}b",
    "nothing": b"",
    "pop of nothing": b"\x85",
    "pop below a mark": b"K\x01(\x85",
    "mark of nothing": b"t",
    "memo of nothing": b"q\0",
    "unknown memo": b"h\x07",
    "unknown long memo": b"j\xff\xff\xff\xff",
    "truncated text": b"X\xff\xff\xff\x7fabc",
    "truncated name": b"ccollections",
    "name without end": b"c" + b"a" * 1000,
    "text that is none": b"X\x01\0\0\0\xff",
    "huge integer": b"\x8a\xff" + b"\xff" * 255,
    "key of a list": b"}]Ns",
    "key of a tuple": b"})Ns",
    "key without value": b"}(Nu",
    "items of a list": b"]NNs",
    "append to a dictionary": b"}Na",
    "persistent id of a text": text("storage") + b"Q",
    "persistent id of a list": b"](" + text("storage") + b"eQ",
    "unknown opcode": b"\xfe",
    "protocol again": b"\x80\x04",
    "no stop": b"N",
}


@pytest.mark.parametrize("name", RAW)
def test_hostile_programs_do_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    body = RAW[name]
    data = b"\x80\x02" + body if name in ("truncated name", "no stop", "truncated text") else program(body)
    refused(archive(tmp_path / "x", data, {"a/data/0": bytes(8)}))


def test_depth_and_sharing_cost_nothing(tmp_path):
    """A tuple in a tuple, two hundred thousand deep; a list that holds itself; two to the power of a thousand references."""
    archive(tmp_path / "x", program(b")" + b"\x85" * 2 * 10**5))
    assert isinstance(torch_zip.read(tmp_path / "x"), tuple)
    itself = torch_zip.read(archive(tmp_path / "y", program(b"]q\0h\0a")))
    assert itself[0] is itself
    doubled = b"]q\0" + b"".join(b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(250))
    assert len(torch_zip.read(archive(tmp_path / "z", program(doubled)))) == 2
    deep = b")" + b"\x85" * 10**5
    strange = b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nDoubleStorage\n" + text("0") + text("cpu")
    strange += number(1) + b"tQ" + number(0) + deep + deep + b"\x89NtR"
    refused(archive(tmp_path / "w", program(strange), {"a/data/0": bytes(8)}))


def test_mutated_programs_never_escape(tmp_path):
    """Bytes of a real program replaced, removed and doubled: a value, or a FileError."""
    with zipfile.ZipFile(DATA / "affine_state") as file:
        records = {name: file.read(name) for name in file.namelist()}
    top = next(name for name in records if name.endswith("/data.pkl")).split("/")[0]
    good, rng, failed = records.pop(f"{top}/data.pkl"), np.random.default_rng(0), 0
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(int(rng.integers(1, 4))):
            i, kind = int(rng.integers(len(bad))), rng.integers(3)
            bad[i : i + 1] = [bytes([rng.integers(256)]), b"", bytes([bad[i], bad[i]])][kind]
        try:
            torch_zip.read(archive(tmp_path / "x", bytes(bad), records, top))
        except FileError:
            failed += 1
    assert failed > 150


# ---------------------------------------------------------------------------------------------------------- sizes, zips


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (tensor([10**9, 10**9], count=2), "does not fit in its storage of 2 numbers"),
        (tensor([2**62, 2**62], [0, 0], count=2), "does not fit in its storage of 2 numbers"),
        (tensor([10**6], [0], count=2), "does not fit in its storage of 2 numbers"),  # expanded from one number
        (tensor([2], offset=1, count=2), "does not fit"),
        (tensor([2], [2], count=2), "does not fit"),
        (tensor([2], [2**62], count=2), "does not fit"),
        (tensor([2], [-1], count=2), "size .* stride"),
        (tensor([-2], count=2), "size"),
        (tensor([2], offset=-1, count=2), "offset -1"),
        (tensor([1] * 9, count=2), "size"),
        (tensor([2], [1, 1], count=2), "size"),
        (tensor([10**9], count=10**9), "has 16 bytes, but 1000000000 numbers of float64 are claimed"),
        (tensor([2], count=-2), "a storage of -2 numbers"),
        (tensor([4], kind="FloatStorage"), None),
        (tensor([2], kind="ComplexDoubleStorage"), "ComplexDoubleStorage.*no tensor"),
        (tensor([2], kind="UntypedStorage"), "UntypedStorage.*no tensor"),
        (tensor([2], kind="FloatStorage"), "has 16 bytes, but 2 numbers"),
        (tensor([2], key="../0"), "key '../0'"),
        (tensor([2], key="1"), "storage '1' is missing"),
        (b"](" + tensor([2]) + tensor([4], kind="FloatStorage") + b"e", "claimed as two types"),
    ],
)
def test_shapes_and_storages_are_checked_before_memory_is_taken(tmp_path, body, match):
    path = archive(tmp_path / "x", program(body), {"a/data/0": np.arange(2.0).tobytes()})
    if match is None:
        assert torch_zip.read(path).shape == (4,)
    else:
        refused(path, match)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../up", "a\\..\\up", "C:evil", "a/x\ny", "b/data/0", "a/data.pkl", "a/b/data.pkl"]
)
def test_records_with_wild_names(tmp_path, name):
    refused(archive(tmp_path / "x", program(b"N"), {name: b"x"}), "record|zip archive")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x"]


def test_zip_bombs(tmp_path):
    bomb = archive(tmp_path / "x", program(b"N"), {"a/data/0": bytes(10**7)}, compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 20_000
    refused(bomb, "is compressed, which torch.save never does")
    large = archive(tmp_path / "y", program(b"N" * 2**20))
    refused(large, "more than 1048576 bytes")


def test_a_record_that_claims_more_than_the_file_has(tmp_path):
    path = archive(tmp_path / "x", program(tensor([2])), {"a/data/0": bytes(16)})
    data = bytearray(path.read_bytes())
    place = data.rindex(b"a/data/0") - 46  # its entry in the directory at the end
    assert data[place : place + 4] == b"PK\x01\x02"
    for field in (20, 24):
        data[place + field : place + field + 4] = struct.pack("<I", 2**31)
    path.write_bytes(data)
    refused(path, "claim more bytes")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_files(tmp_path, share):
    data = (DATA / "sums_state").read_bytes()
    (tmp_path / "x").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / "x", "truncated or damaged zip archive")


def test_flipped_bits_are_noticed(tmp_path):
    """Every record has a check sum."""
    data = bytearray((DATA / "sums_state").read_bytes())
    place = data.index(np.float64(1).tobytes())  # an entry of a mask
    data[place + 3] ^= 1
    (tmp_path / "x").write_bytes(data)
    refused(tmp_path / "x", "damaged zip archive|is damaged")


def test_encrypted_records_and_names_that_come_twice(tmp_path):
    path = archive(tmp_path / "x", program(b"N"))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    refused(path, "record 'a/data.pkl' is encrypted")
    twice = archive(tmp_path / "y", program(tensor([1])), {"a/data/0": bytes(8)})
    with warnings.catch_warnings(), zipfile.ZipFile(twice, "a") as file:
        warnings.simplefilter("ignore")
        file.writestr("a/data/0", bytes(8))
    refused(twice, "two records have the same name")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (pickle.dumps({"a": 1}, 2), "bare pickle or in torch's format before 1.6"),
        (b"", "is empty; save or copy it again"),
        (b"\x93NUMPY", "no zip archive"),
        (b"PK\x03\x04", "truncated or damaged"),
    ],
)
def test_other_files(tmp_path, data, match):
    (tmp_path / "x").write_bytes(data)
    refused(tmp_path / "x", match)
    with pytest.raises(FileNotFoundError, match="there is no file .*nowhere"):
        torch_zip.read(tmp_path / "nowhere")
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("x/code.py", "1")
    (tmp_path / "x").write_bytes(other.getvalue())
    refused(tmp_path / "x", "without one record <name>/data.pkl")


@pytest.mark.parametrize("value", [{"a": np.ones(2, complex)}, np.array(["a"]), {"a": np.ones(2, bool)}])
def test_only_floats_and_integers_are_written(tmp_path, value):
    with pytest.raises(TypeError, match="arrays must be float64, float32 or int64"):
        torch_zip.write(tmp_path / "x", value)
    assert not list(tmp_path.iterdir())
