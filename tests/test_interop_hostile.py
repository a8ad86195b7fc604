"""Hostile files: `kanref convert` refuses each with one line on stderr and exit code 2, at once, in little memory; nothing runs.

Memory is the process's peak while a file is read, as Linux counts it, under a limit on what it may ask for: a claim of gigabytes
that is believed shows as MemoryError, touched or not.
"""

import importlib
import json
import os
import pickle
import resource
import signal
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from kanref.cli import main
from kanref.interop import torch_zip
from kanref.io import FileError

DATA = Path(__file__).parent / "data" / "interop"
MEGABYTE = 2**20
SECONDS = 10
LIMIT = 300 * MEGABYTE

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="memory is measured as Linux tells it")


@pytest.fixture(autouse=True)
def guarded(tmp_path, monkeypatch):
    """The current folder is empty but for the file; 1 GiB more than now at most; an alarm ends what takes too long."""

    def late(*_):
        raise TimeoutError(f"more than {SECONDS} seconds")

    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, hard))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def resident(which):
    """VmRSS, what the process has of memory now, or VmHWM, the most it had."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) * 1024


def refused(capsys, match):
    """That `kanref convert` refuses the file x as it should; match: texts, one of which the message has, between bars."""
    there = sorted(os.listdir())
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before = resident("VmRSS")
    code = main(["convert", "x", "out.safetensors"])
    peak = resident("VmHWM") - before
    shown = capsys.readouterr()
    assert code == 2 and not shown.out
    assert shown.err.count("\n") == 1 and len(shown.err) < 2000 and shown.err.strip().isprintable()
    assert "MemoryError" not in shown.err and peak < LIMIT
    assert any(part in shown.err for part in match.split("|"))
    assert sorted(os.listdir()) == there


# -------------------------------------------------------------------------------------------------------- what is no file


def directory():
    os.mkdir("x")


def empty():
    Path("x").touch()


def pipe():
    os.mkfifo("x")


def loop():
    os.symlink("x", "x")


def dangling():
    os.symlink("nowhere", "x")


def device():
    os.symlink("/dev/zero", "x")


def state_is_a_directory():
    os.mkdir("x_state")
    Path("x_config.yml").touch()


def config_is_a_pipe():
    (Path("x_state")).write_bytes((DATA / "sums_state").read_bytes())
    os.mkfifo("x_config.yml")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (directory, "is a folder without a model.safetensors"),
        (empty, "x is empty"),
        (pipe, "x is no regular file"),
        (loop, "there is no file x"),
        (dangling, "there is no file x"),
        (device, "x is no regular file"),
        (state_is_a_directory, "x_state is a folder"),
        (config_is_a_pipe, "x_config.yml is no regular file"),
    ],
)
def test_what_is_no_file(capsys, make, match):
    make()
    refused(capsys, match)


@pytest.mark.parametrize("library", ["pykan", "efficient_kan", "fast_kan", "cheby_kan", "jaxkan"])
@pytest.mark.parametrize(("make", "match"), [(directory, "is a folder"), (pipe, "no regular file"), (empty, "is empty")])
def test_readers_refuse_what_is_no_file(library, make, match):
    make()
    with pytest.raises(FileError, match=match):
        importlib.import_module(f"kanref.interop.{library}").read("x")


def test_links_are_followed(capsys):
    os.symlink(DATA / "efficient.pt", "x")
    assert main(["convert", "x", "out.safetensors"]) == 0


# ---------------------------------------------------------------------------------------------------------------- pickles


def archive(program, records=None, path="x", top="a"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that come twice
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(f"{top}/data.pkl", b"\x80\x02" + program + b".")
            for name, data in (records or {}).items():
                file.writestr(name, data)


def text(string):
    return b"X" + struct.pack("<I", len(string.encode())) + string.encode()


def doubled(opener, count=60):
    """A tuple with a pair of pairs of pairs ... in it: written out it would be 2^count long, here it is few bytes."""
    pair = lambda n: b"h" + bytes([n]) + b"h" + bytes([n])
    if opener == "tuple":
        return b"()q\0" + b"".join(pair(n) + b"\x86q" + bytes([n + 1]) for n in range(count)) + b"t"
    return b"(]q\0" + b"".join(b"](" + pair(n) + b"eq" + bytes([n + 1]) for n in range(count)) + b"t"


def storage(count=b"K\x01", key=b"X\x01\0\0\0" + b"0"):
    return b"(" + text("storage") + b"ctorch\nDoubleStorage\n" + key + text("cpu") + count + b"tQ"


def rebuilt(storage, offset=b"K\0", size=b"K\x01\x85", stride=b"K\x01\x85"):
    extra = b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + offset + size + stride + extra + b"tR"


PROGRAMS = {
    "a call of os.system": (b"cposix\nsystem\n" + text("touch executed") + b"\x85R", "nothing was executed"),
    "a call of eval": (b"cbuiltins\neval\n" + text("open('executed', 'w')") + b"\x85R", "nothing was executed"),
    "a call in a call": (
        b"cbuiltins\nmap\ncbuiltins\neval\n" + text("open('executed', 'w')") + b"\x85R]\x86R",
        "nothing was executed",
    ),
    "state that is set": (b"}" + text("__setstate__") + b"cposix\nsystem\nsb", "nothing was executed"),
    "state of a dictionary": (b"ccollections\nOrderedDict\n)R}" + text("update") + b"K\x01sb", "of no library known here"),
    "a long integer": (b"\x8b\xff\xff\xff\x7f" + bytes(100), "opcode b'\\x8b'"),
    "a long integer of 255 bytes": (b"\x8a\xff" + bytes(255), "an integer of 255 bytes"),
    "a frame": (b"\x95" + b"\xff" * 8, "opcode b'\\x95'"),
    "protocol 4": (b"\x80\x04", "protocol 4"),
    "a text of 4 GiB": (b"X\xff\xff\xff\xff", "truncated"),
    "a size of 2^60 numbers": (rebuilt(storage(), size=doubled("tuple")), "a tensor of size"),
    "an offset of 2^60 lists": (rebuilt(storage(), offset=doubled("list")), "a tensor of size"),
    "a key of 2^60 lists": (rebuilt(storage(key=doubled("list"))), "with the key"),
    "a count of 2^60 lists": (rebuilt(storage(count=doubled("list"))), "a storage of"),
    "a state of 2^60 lists": (doubled("list"), "holds no state dict, but tuple"),
    "an entry of 2^60 lists": (b"}" + text("a") + doubled("list") + b"s", "'a' is no tensor"),
    "lists without end": (b"]" * (MEGABYTE - 10), "holds no state dict"),
    "dictionaries without end": (b"}" * (MEGABYTE - 10), "library known here"),
    "marks without end": (b"(" * (MEGABYTE - 10), "it takes more than it has put"),
    "a name of a megabyte": (b"}" + text("a" * 10**6) + rebuilt(storage()) + b"s", "a name of 1000000 characters"),
    "a name of two lines": (b"}" + text("a\nb") + rebuilt(storage()) + b"s", "a name that cannot be printed"),
    "a name that colours the terminal": (b"}" + text("\x1b[31m") + rebuilt(storage()) + b"s", "cannot be printed"),
    "a negative stride": (b"}" + text("a") + rebuilt(storage(), stride=b"J\xff\xff\xff\xff\x85") + b"s", "stride (-1,)"),
    "a negative size": (b"}" + text("a") + rebuilt(storage(), size=b"J\xff\xff\xff\xff\x85") + b"s", "size (-1,)"),
    "an offset outside": (b"}" + text("a") + rebuilt(storage(), offset=b"K\x01") + b"s", "does not fit in its storage"),
    "a huge shape": (
        b"}" + text("a") + rebuilt(storage(), size=b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85", stride=b"K\0\x85") + b"s",
        "does not fit in its storage",
    ),
    "a huge empty shape": (
        b"}" + text("cheby_coeffs")
        + rebuilt(storage(), size=b"\x8a\x08" + b"\xff" * 7 + b"\x7fK\0K\x02\x87", stride=b"K\0K\0K\0\x87") + b"s",
        "array is too big",
    ),
    "a wide empty shape": (
        b"}" + text("cheby_coeffs") + rebuilt(storage(), size=b"J\0\0\0\x40K\0K\x02\x87", stride=b"K\0K\0K\0\x87") + b"s",
        "cheby_coeffs has no entries",
    ),
    "a huge storage": (b"}" + text("a") + rebuilt(storage(b"\x8a\x08" + b"\xff" * 7 + b"\x7f")) + b"s", "has 8 bytes"),
    "a storage elsewhere": (b"}" + text("a") + rebuilt(storage(key=text("../../x"))) + b"s", "the key '../../x'"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(capsys, name):
    program, match = PROGRAMS[name]
    archive(program, {"a/data/0": bytes(8)})
    refused(capsys, match)


@pytest.mark.parametrize("shared", ["storages", "tensors"])
def test_views_of_one_storage_that_would_fill_the_memory(capsys, shared):
    """Two thousand layers of a megabyte each, in a file of a little more than one."""
    n = MEGABYTE // 8
    size = b"(J" + struct.pack("<i", n) + b"K\x01K\x01t", b"(K\x01K\x01K\x01t"
    one = rebuilt(storage(b"J" + struct.pack("<i", n)), size=size[0], stride=size[1])
    if shared == "tensors":
        first, again = one + b"q\0", b"h\0"
    else:
        first = again = one
    names = [text(f"layer{l}.cheby_coeffs") for l in range(2000)]
    archive(b"}(" + names[0] + first + b"".join(name + again for name in names[1:]) + b"u", {"a/data/0": bytes(8 * n)})
    refused(capsys, "more than 16 times the file")


# ------------------------------------------------------------------------------------------------------------------- zips


def many_records():
    """Ten thousand entries of one record."""
    archive(b"}")
    data = Path("x").read_bytes()
    entry, end = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    directory = data[entry:end] * 10_001
    ending = bytearray(data[end:])
    ending[12:16] = struct.pack("<I", len(directory))
    Path("x").write_bytes(data[:entry] + directory + ending)


def truncated():
    data = (DATA / "sums_state").read_bytes()
    Path("x").write_bytes(data[: len(data) // 2])


def traversal():
    archive(b"}", {"../../evil": b"x"})


def absolute():
    archive(b"}", {"/etc/evil": b"x"})


def twice():
    archive(b"}", {"a/data/0": b"x"})
    with warnings.catch_warnings(), zipfile.ZipFile("x", "a") as file:
        warnings.simplefilter("ignore")
        file.writestr("a/data/0", b"y")


def encrypted():
    archive(b"}")
    data = bytearray(Path("x").read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    Path("x").write_bytes(data)


def npz(records, compression=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile("x", "w", compression) as file:
        warnings.simplefilter("ignore")
        for name, data in records:
            file.writestr(name, data)


def npy(descr="<f8", shape="(1,)", data=bytes(8), header=None):
    header = header or f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    line = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(line)) + line + data


def overlapping():
    """Two records of one name's bytes: the second entry of the directory points at the first record."""
    npz([("a.npy", npy()), ("b.npy", npy())])
    data = bytearray(Path("x").read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 42 : entry + 46] = struct.pack("<I", 0)
    Path("x").write_bytes(data)


def quoted():
    """A record that says it is small unpacked, and is 400 MiB."""
    big = zlib.compressobj(9, wbits=-15)
    data = b"".join(big.compress(bytes(MEGABYTE)) for _ in range(400)) + big.flush()
    npz([("a.npy", data)])
    found = bytearray(Path("x").read_bytes())
    for place, method, size in ((0, 8, 22), (found.rindex(b"PK\x01\x02"), 10, 24)):
        found[place + method : place + method + 2] = struct.pack("<H", 8)
        found[place + size : place + size + 4] = struct.pack("<I", 200)
    Path("x").write_bytes(found)


def of_other_methods(method):
    def make():
        npz([("a.npy", npy(shape="(1000000,)", data=bytes(8 * 10**6)))], method)

    return make


def bomb():
    npz([("a.npy", npy(shape="(20000000,)", data=bytes(16 * 10**7)))], zipfile.ZIP_DEFLATED)


def far_directory():
    """The end of the archive claims a directory of 4 GiB."""
    archive(b"}")
    data = bytearray(Path("x").read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = b"\xfe\xff\xff\xff"
    Path("x").write_bytes(data)


def many_disks():
    """The end of the archive says that there is more of it on other disks."""
    archive(b"}")
    data = Path("x").read_bytes()
    end = data.rindex(b"PK\x05\x06")
    Path("x").write_bytes(data[:end] + b"PK\x06\x07" + struct.pack("<IQI", 1, 0, 7) + data[end:])


def double_npz():
    npz([("a.npy", npy()), ("a.npy", npy())])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (many_records, "records"),
        (truncated, "truncated or damaged zip archive"),
        (traversal, "which leaves the archive's folder"),
        (absolute, "which leaves the archive's folder"),
        (twice, "two records have the same name"),
        (encrypted, "is encrypted"),
        (overlapping, "x is damaged or no npz file"),
        (quoted, "damaged or no npz file (BadZipFile: Bad CRC-32"),
        (of_other_methods(zipfile.ZIP_BZIP2), "compressed in a way that NumPy does not use"),
        (of_other_methods(zipfile.ZIP_LZMA), "compressed in a way that NumPy does not use"),
        (bomb, "64 times as large"),
        (far_directory, "x is"),
        (many_disks, "(zipfiles that span multiple disks are not supported)"),
        (double_npz, "two records"),
        (lambda: npz([("a.npy", npy("|O", data=pickle.dumps(np.ones(1))))]), "only numbers are read"),
        (lambda: npz([("a.npy", npy(shape="(1000000000000,)"))]), "with 8 bytes"),
        (lambda: npz([("a.npy", npy(shape="(10000000000000000000, 0)", data=b""))]), "x "),
        (lambda: npz([("a.npy", npy(header="(" * 100))]), "x "),
        (lambda: npz([("a.npy", npy(header="{'shape': (1L,), 'descr': '<f8', 'fortran_order': False}"))]), "x "),
        (lambda: npz([("../../evil.npy", npy())]), "of no library known here"),
        (lambda: npz([("a\nb.npy", npy())]), "cannot be printed"),
        (lambda: npz([("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{")]), "x "),
    ],
)
def test_archives(capsys, make, match):
    make()
    refused(capsys, match)


# ------------------------------------------------------------------------------------------------------- configurations


def checkpoint(lines="", **entries):
    """A checkpoint of data/interop with other entries in its configuration, and lines before them."""
    Path("x_state").write_bytes((DATA / "sums_state").read_bytes())
    own = dict(width="[[3, 0], [4, 0], [2, 0]]", grid="4", k="3", mult_arity="2", base_fun_name="silu") | entries
    Path("x_config.yml").write_text(lines + "".join(f"{key}: {value}\n" for key, value in own.items()))


LAUGHS = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 25))
PLACES = ["width", "mult_arity", "base_fun_name", "k", "grid_range", "symbolic.funs_name.0", "kanref.columns", "other"]


@pytest.mark.parametrize("key", PLACES)
def test_a_billion_laughs(capsys, key):
    """9^24 ones behind aliases, wherever the reader looks, and where it does not."""
    checkpoint(LAUGHS, **{key: "*a24"})
    refused(capsys, "x_config.yml cannot be read as YAML: its aliases stand for")


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ({"width": "!!python/object/apply:os.system ['touch executed']"}, "width must have 3 levels"),
        ({"base_fun_name": "!!python/object/apply:os.system ['touch executed']"}, "the base function 'system' is not known"),
        ({"mult_arity": "[" * 100_000}, "x_config.yml cannot be read as YAML: line 5"),
        ({"width": "[[3, 0], [4000000000, 0], [2, 0]]"}, "width[1] is [4000000000, 0], but the state dict has 4 nodes there"),
        ({"width": "[[3, 0], [4, 0], [2, 0]" + ", [1, 0]" * 30_000 + "]"}, "width must have 3 levels"),
        ({"width": "[" + "1, " * 30_000 + "1]"}, "width must have 3 levels"),
        ({"width": "[[3, 0], [[" + "1, " * 30_000 + "1], 0], [2, 0]]"}, "width[1]"),
        ({"width": "[[3, 0], [4, 1], [2, 0]]"}, "width[1] is [4, 1], but the state dict has 4 nodes there"),
        ({"mult_arity": "[" + "1, " * 30_000 + "1]"}, "mult_arity must be a number or 3 lists"),
        ({"mult_arity": "[[], [[" + "1, " * 30_000 + "1]], []]"}, "mult_arity[1] must be 0 numbers"),
        ({"mult_arity": "[[], 3, []]"}, "mult_arity[1] must be 0 numbers"),
        ({"width": "[[3, 0], [3, 1], [2, 0]]", "mult_arity": "[[], [1000000000000], []]"}, "mult_arity[1] must be from 2 to 100"),
        ({"k": "&a " * 600_000 + "3"}, "'&a' is the second of its kind before one value"),
        ({"k": "!!str " * 10**5 + "3"}, "'!!str' is the second of its kind before one value"),
        ({"other": "\n" * 3 * 10**5 + "  x: ["}, "x_config.yml cannot be read as YAML"),
        ({"other": "a" * 2**21}, "x_config.yml has more than 2097152 bytes"),
        ({"symbolic.funs_name.0": "[" + "1, " * 30_000 + "[]]"}, None),
    ],
)
def test_configurations(capsys, entries, match):
    checkpoint(**entries)
    if match is None:  # nothing there is needed, as no edge is symbolic
        assert main(["convert", "x", "out.safetensors"]) == 0
    else:
        refused(capsys, match)
    assert not Path("executed").exists()


# --------------------------------------------------------------------------------------------------- msgpack, safetensors


def extension(data, kind=1):
    return b"\xc9" + struct.pack(">IB", len(data), kind) + data


def one(data):
    return b"\x81\xa1a" + data


def of_array(shape, name=b"\xa7float64", data=b"\xc4\x00"):
    return one(extension(b"\x93" + shape + name + data))


def in_one_another(count, size):
    data = bytes(size)
    for _ in range(count):
        data = extension(data)
    return one(data)


def safetensors(header, data=bytes(16)):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(shape=(1,), offsets=(0, 8), dtype="F64"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"\xdf\xff\xff\xff\xff", "too early"),
        (one(b"\xdd\xff\xff\xff\xff"), "too early"),
        (one(b"\xc6\xff\xff\xff\xff"), "too early"),
        (one(b"\xc9\xff\xff\xff\xff\x01"), "too early"),
        (one(b"\x91" * 10**5), "more than 40 levels"),
        (one(b"\xdd\x00\x3f\xff\xff" + b"\x90" * (2**22 - 1)), "more than 200000 values"),
        (in_one_another(30, 10**6), "an array without shape|an extension in another"),
        (one(extension(b"", 42)), "an extension of type 42"),
        (of_array(b"\x92\xcf" + b"\xff" * 8 + b"\x00"), "an array without shape"),
        (of_array(b"\x92\xcf\0\0" + b"\xff" * 6 + b"\x00"), "x "),
        (of_array(b"\x91\xce\xff\xff\xff\xff"), "with 0 bytes"),
        (of_array(b"\x92\x00\xce\xff\xff\xff\xff"), "a has no entries"),
        (of_array(b"\x91\x01", b"\xa6object", b"\xc4\x08" + bytes(8)), "an array of type 'object'"),
        (b"\x81\xa3a\nb" + extension(b"\x93\x91\x01\xa7float64\xc4\x08" + bytes(8)), "cannot be printed"),
        (safetensors({"a": entry(), "b": entry()}), "x is damaged or no safetensors file"),
        (safetensors({"a": entry((2,), (0, 16)), "b": entry((1,), (8, 16))}), "x is damaged or no safetensors file"),
        (safetensors({"a": entry((10**12,), (0, 8 * 10**12))}), "x is damaged or no safetensors file"),
        (safetensors({"a": entry((2**62, 2**62), (0, 8))}), "x is damaged or no safetensors file"),
        (safetensors({"a": entry((0, 2**40), (0, 0))}, b""), "a has no entries"),
        (safetensors({"a": entry((4,), (0, 8), "BF16")}, bytes(8)), "x is damaged or no safetensors file of floats"),
        (safetensors({"a\nb": entry()}, bytes(8)), "cannot be printed"),
        (safetensors(b"{" + b'"a":[' * 10**5), "x is damaged or no safetensors file"),
        (safetensors(b'{"__metadata__":{"kanref":"{}"}}', b""), "x is damaged"),
        (struct.pack("<Q", 2**60) + b"{}", "of no format known here"),
        (struct.pack("<Q", 10) + b"{}      ", "x "),
        (b"\x80\x02}.", "a bare pickle or in torch's format before 1.6"),
        (b"\x80\x04\x95" + b"\xff" * 8 + b".", "a bare pickle or in torch's format before 1.6"),
        (pickle.dumps({"a": np.ones(3)}), "a bare pickle"),
    ],
)
def test_other_formats(capsys, data, match):
    Path("x").write_bytes(data)
    refused(capsys, match)


# --------------------------------------------------------------------------------------------------------------- contents


def rows(*shape):
    return np.linspace(0, 1, int(np.prod(shape))).reshape(shape)


def efficient(Q=1, P=1, K=5, T=8, **other):
    own = {"grid": np.tile(np.arange(float(T)), (P, 1)), "base_weight": rows(Q, P), "spline_weight": rows(Q, P, K)}
    return {f"layers.0.{name}": a for name, a in (own | other).items() if a is not None}


def jax(**other):
    return {name.replace("base_weight", "c_res").replace("spline_weight", "c_basis"): a for name, a in efficient(**other).items()}


def old(Q, P=1):
    """A state dict of pykan 0.0 in which every edge has knots of its own."""
    n, state = Q * P, {"biases.0.weight": rows(1, Q)}
    own = {"grid": np.arange(3.0) + np.arange(n)[:, None] / n, "coef": rows(n, 3)}
    own |= {name: rows(n) for name in ("scale_base", "scale_sp", "mask")}
    state |= {f"act_fun.0.{name}": a for name, a in own.items()}
    return state | {"symbolic_fun.0.mask": np.zeros((Q, P)), "symbolic_fun.0.affine": np.zeros((Q, P, 4))}


def fast(P, n=2):
    own = {"rbf.grid": np.arange(float(n)), "spline_linear.weight": rows(1, P * n)}
    own |= {"layernorm.weight": rows(P), "layernorm.bias": rows(P)}
    return {f"layers.0.{name}": a for name, a in own.items()}


def kan02(**other):
    return dict(torch_zip.read(DATA / "sums_state")) | {name.replace("__", "."): a for name, a in other.items()}


@pytest.mark.parametrize(
    ("state", "match"),
    [
        (lambda: efficient(grid=np.array(1.0)), "grid of layer 0 must have 2 axes"),
        (lambda: efficient(spline_weight=np.array(1.0)), "spline_weight of layer 0 must have 3 axes, but it has shape ()"),
        (lambda: efficient(spline_weight=rows(3)), "spline_weight of layer 0 must have 3 axes, but it has shape (3,)"),
        (lambda: efficient(base_weight=np.array(1.0)), "base_weight of layer 0 must be floats of shape"),
        (lambda: efficient(T=2000), "degree of layer 0"),
        (lambda: efficient(grid=np.full((1, 8), np.nan)), "must be finite"),
        (lambda: efficient(grid=np.full((1, 8), np.inf)), "must be finite"),
        (lambda: efficient(grid=np.array([[0, 1, 2, 3, np.inf, np.inf, np.inf, np.inf]])), "finite|repeated"),
        (lambda: {n: a.astype("f4") if "spline" in n else 1e99 * (1 + a) for n, a in efficient().items()}, "are beyond float32"),
        (lambda: jax(grid=np.array(1.0)), "grid of layer 0 must have 2 axes"),
        (lambda: jax(spline_weight=np.array(1.0)), "c_basis of layer 0 must have 2 or 3 axes, but it has shape ()"),
        (lambda: jax(spline_weight=rows(5)), "c_basis of layer 0 must have 2 or 3 axes, but it has shape (5,)"),
        (lambda: {"layers.0.spline_linear.weight": np.array(1.0)}, "spline_linear.weight of layer 0 must have 2 axes"),
        (lambda: fast(1) | {"layers.0.rbf.grid": np.array(1.0)}, "layer 0 has 1 centres"),
        (lambda: fast(50_000), "LayerNorm of 50000 inputs"),
        (lambda: {"cheby_coeffs": np.array(1.0)}, "must be floats (in, out, degree + 1)"),
        (lambda: kan02(act_fun__0__grid=np.array(1.0)), "act_fun.0.grid must have 2 axes of floats"),
        (lambda: kan02(act_fun__0__coef=np.array(1.0)), "act_fun.0.coef must have 3 axes of floats"),
        (lambda: kan02(node_bias_0=np.array(1.0)), "node_bias_0 must have 1 axes"),
        (lambda: kan02(symbolic_fun__0__mask=np.array(1.0)), "symbolic_fun.0.mask must have 2 axes"),
        (lambda: old(3) | {"act_fun.0.grid": np.array(1.0)}, "act_fun.0.grid must have 2 axes"),
        (lambda: old(3) | {"act_fun.0.mask": np.array(1.0)}, "act_fun.0.mask must have 1 axes"),
        (lambda: old(3) | {"biases.0.weight": np.array(1.0)}, "biases.0.weight must have 2 axes"),
        (lambda: old(5000), "a layer has 5000 sets of knots for one input"),
        (lambda: {f"a{'.' * 190}": rows(1)} | {f"layers.{n}.spline_weight": np.array(1.0) for n in range(3)}, "axes"),
        (lambda: {f"layers.{n}.spline_weight": np.array(1.0) for n in range(1, 400)}, "none of them is layers.0"),
        (lambda: {f"{n}layers.0.spline_weight": np.array(1.0) for n in range(400)}, "or several such sets"),
    ],
)
def test_contents(capsys, state, match):
    torch_zip.write("x", state())
    refused(capsys, match)


def test_every_name_of_a_hostile_file_is_short_and_printable(capsys):
    """The report of strangers names three of them."""
    state = dict(torch_zip.read(DATA / "efficient.pt")) | {f"other.{n}": np.ones(1) for n in range(300)}
    torch_zip.write("x", state)
    assert main(["convert", "x", "out.safetensors"]) == 0
    shown = capsys.readouterr().out
    assert "dropped  other.0, other.1, other.2 and 297 more, which are no part of a KAN" in shown and len(shown) < 1000
