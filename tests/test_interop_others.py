"""efficient-kan, fast-kan, ChebyKAN and jaxKAN files without these libraries, and the way from each format to each other.

data/interop holds files that the libraries themselves wrote, and what their models returned (tests/test_interop_live.py).
"""

import json
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases, check
from kanref.bases import BSpline, Chebyshev, MinMax
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.gaussians import Gaussians
from kanref.interop import (
    cheby_kan,
    convert,
    efficient_kan,
    fast_kan,
    jaxkan,
    msgpack_subset,
    pykan,
    tensors,
    torch_zip,
)
from kanref.interop.report import Unrepresentable
from kanref.io import FileError
from kanref.model import Model
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.nodes import Nodes
from kanref.sparsify import masked
from kanref.terms import Linear
from kanref.weights import Full, Tucker

DATA = Path(__file__).parent / "data" / "interop"
CASES = {
    name: {key: np.array(value) for key, value in case.items()}
    for name, case in json.loads((DATA / "others.json").read_text()).items()
}
READERS = {
    "efficient.pt": (efficient_kan, {}),
    "efficient_layer.pt": (efficient_kan, {"base": bases.tanh}),
    "fast.pt": (fast_kan, {}),
    "radial.pt": (fast_kan, {}),
    "jaxkan_spline.msgpack": (jaxkan, {}),
    "jaxkan_base.msgpack": (jaxkan, {}),
    "jaxkan_bare.msgpack": (jaxkan, {}),
}
SUFFIXES = (".pt", ".safetensors", ".npz", ".msgpack")


def read(name):
    library, options = READERS[name]
    return library.read(DATA / name, **options)


def near(found, expected, tolerance=1e-12):
    assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


def random(net, seed=0, **options):
    return Model(net, np.random.default_rng(seed).normal(0, 0.5, net.size), **options)


# --------------------------------------------------------------------------------------------------------- real files


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_the_library(name):
    """jaxKAN computes in float32, and its parameters are such."""
    model, report = read(name)
    case = CASES[name]
    near(model.raw(case["x"]), case["y"], 2e-6 if name.startswith("jaxkan") else 1e-12)
    assert not report.differs
    if name.startswith("jaxkan"):
        assert model.theta.dtype == np.float32
        near(replace(model, theta=model.theta.astype("f8")).raw(case["x"]), case["y"], 1e-6)


def test_the_files_cover_what_they_claim():
    assert set(CASES) == set(READERS)
    assert not (read("efficient.pt")[0].net.layers[0].terms["spline"].basis.steps > 0).any()  # an updated grid
    layer = read("efficient_layer.pt")[0].net.layers[0]
    assert isinstance(layer.terms["spline"].weights, Full) and layer.terms["base"].basis is bases.tanh
    assert "layers.0.layernorm.weight" in tensors.read_arrays(DATA / "fast.pt")
    assert "layers.0.layernorm.weight" not in tensors.read_arrays(DATA / "radial.pt")
    shapes = {name: tensors.read_arrays(DATA / f"jaxkan_{name}.msgpack") for name in ("spline", "base", "bare")}
    assert [len(shapes[name]["layers.0.c_basis"]) for name in shapes] == [3, 6, 3]
    assert "layers.0.bias" not in shapes["base"] and "layers.0.c_res" not in shapes["bare"]
    assert shapes["spline"]["layers.0.bias"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", CASES)
def test_there_and_back_is_exact(name, suffix, tmp_path):
    """The file is read, written, and read again: the same theta, and from then on the same arrays."""
    library, options = READERS[name]
    model, _ = read(name)
    report = library.write(model, tmp_path / f"x{suffix}")
    again, _ = library.read(tmp_path / f"x{suffix}", **options)
    assert_array_equal(again.theta, model.theta, strict=True)
    assert_array_equal(again.raw(CASES[name]["x"]), model.raw(CASES[name]["x"]), strict=True)
    assert not report.differs and not report.dropped
    before, after = (tensors.read_arrays(path) for path in (DATA / name, tmp_path / f"x{suffix}"))
    if name not in ("efficient_layer.pt", "jaxkan_base.msgpack"):
        assert set(before) == set(after)
        for key, a in before.items():
            assert_array_equal(after[key], a)
    library.write(again, tmp_path / f"y{suffix}")
    assert (tmp_path / f"x{suffix}").read_bytes() == (tmp_path / f"y{suffix}").read_bytes() or suffix == ".npz"


# -------------------------------------------------------------------------------------------------------------- fast-kan


def test_layernorm_is_formulas_and_products():
    rng = np.random.default_rng(0)
    w, b, x = rng.normal(size=4), rng.normal(size=4), rng.normal(size=(30, 4))
    layers, arrays = zip(*fast_kan.normalised(w, b))
    net = KAN(layers)
    theta = net.join({f"{l}.{name}": a for l, own in enumerate(arrays) for name, a in own.items()})
    expected = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * w + b
    near(net(theta, x), np.concatenate([x, expected], 1), 1e-13)


def test_a_trained_layernorm_cannot_be_written(tmp_path):
    model, _ = read("fast.pt")
    theta = model.theta.copy()
    model.net.split(theta)["1.squares.affine"][0, 0] = 2
    with pytest.raises(Unrepresentable, match="layer 0: no Gaussians; layer 1, term 'squares': .*fast-kan has Gaussians and one"):
        fast_kan.write(replace(model, theta=theta), tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


def test_gaussians_are_a_basis():
    basis = Gaussians(np.array([-1, 0.3, 2]), 0.7)
    check.check_basis(basis, np.linspace(-2.5, 2.5, 31)[:, None])
    x = np.linspace(-2, 2, 7)[:, None]
    first, values = basis.derivatives(x, 3)
    assert_allclose(values[0][:, 0], np.exp(-(((x - basis.centres) / 0.7) ** 2)), rtol=1e-15)
    assert first.max() == 0 and basis.size == basis.window == 3 and basis.select([0]) is basis
    h = 1e-5
    for m in range(3):
        slope = (basis.derivatives(x + h, m)[1][m] - basis.derivatives(x - h, m)[1][m]) / (2 * h)
        assert_allclose(values[m + 1], slope, atol=1e-7)
    with pytest.raises(ValueError, match="width must be positive"):
        Gaussians(np.ones(2), 0)
    with pytest.raises(ValueError, match="centres must be a vector"):
        Gaussians(np.ones((2, 2)), 1)


def test_widths_of_gaussians_are_not_stored(tmp_path):
    net = KAN((Layer({"rbf": Linear(Gaussians(np.linspace(-1, 1, 4), 0.9), Full((2, 3, 4)))}),))
    model = random(net)
    report = fast_kan.write(model, tmp_path / "x.pt")
    assert "build it with denominator=0.9, which is not stored" in str(report)
    again, _ = fast_kan.read(tmp_path / "x.pt", widths=[0.9])
    x = np.random.default_rng(0).normal(size=(9, 3))
    assert_array_equal(again.raw(x), model.raw(x))
    with pytest.raises(FileError, match="widths must name 1 numbers"):
        fast_kan.read(tmp_path / "x.pt", widths=[0.9, 1])


# -------------------------------------------------------------------------------------------------------------- ChebyKAN


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_chebyshev_layers(tmp_path, suffix):
    rng = np.random.default_rng(0)
    names = [f"net.layer{n}" for n in (1, 2, 10)]
    state = {f"{n}.cheby_coeffs": rng.normal(size=s) for n, s in zip(names, [(3, 4, 5), (4, 4, 1), (4, 2, 3)])}
    tensors.write_arrays(tmp_path / f"x{suffix}", state | {"net.layer1.arange": np.arange(5)})
    model, report = cheby_kan.read(tmp_path / f"x{suffix}")
    x = y = rng.normal(size=(20, 3))
    for C in state.values():  # NumPy's own Chebyshev series, edge by edge
        edges = [[np.polynomial.chebyshev.chebval(np.tanh(y[:, i]), c) for c in C[i]] for i in range(len(C))]
        y = np.sum(edges, 0).T
    near(model.raw(x), y)
    assert "layers net.layer1.cheby_coeffs, net.layer2.cheby_coeffs, net.layer10" in str(report)
    cheby_kan.write(model, tmp_path / f"y{suffix}")
    again = tensors.read_arrays(tmp_path / f"y{suffix}")
    assert set(again) == set(state)
    for name, a in state.items():
        assert_array_equal(again[name], a)


def test_what_stands_between_chebyshev_layers_is_refused(tmp_path):
    state = {"a.cheby_coeffs": np.ones((2, 2, 3)), "ln.weight": np.ones(2), "ln.bias": np.ones(2)}
    torch_zip.write(tmp_path / "x", state)
    with pytest.raises(Unrepresentable, match=r"ln.weight, ln.bias: only the layers are known, not what stands between"):
        cheby_kan.read(tmp_path / "x")
    assert cheby_kan.read(tmp_path / "x", strict=False)[0].net.widths == (2, 2)
    torch_zip.write(tmp_path / "x", {"a.cheby_coeffs": np.ones((2, 2))})
    with pytest.raises(FileError, match=r"must be floats \(in, out, degree \+ 1\)"):
        cheby_kan.read(tmp_path / "x")
    torch_zip.write(tmp_path / "x", {"a.cheby_coeffs": np.ones((2, 2, 2)), "b.cheby_coeffs": np.ones((3, 2, 2))})
    with pytest.raises(FileError, match="they must agree"):
        cheby_kan.read(tmp_path / "x")


@pytest.mark.parametrize(
    ("layer", "options", "match"),
    [
        ({"s": Linear(BSpline.uniform(2, 3, 3), Full((2, 2, 6)))}, {}, "term 's': B-splines .* is not Chebyshev's"),
        ({"c": Linear(Chebyshev(2), Full((2, 2, 3)))}, {"bias": True}, "no biases, nodes and input maps"),
        ({"c": Linear(Chebyshev(2), Full((2, 2, 3)))}, {"normalise": bases.tanh}, "no biases, nodes and input maps"),
        ({"c": Linear(Chebyshev(2), Tucker((2, 2, 3), (1, 1, 1)))}, {}, None),
    ],
)
def test_what_chebykan_has_no_place_for(tmp_path, layer, options, match):
    model = random(KAN((Layer(layer, **options),)))
    if match is None:
        assert "Tucker weights are written out in full" in str(cheby_kan.write(model, tmp_path / "x"))
        x = np.random.default_rng(0).normal(size=(9, 2))
        near(cheby_kan.read(tmp_path / "x")[0].raw(x), model.raw(x), 1e-14)
        return
    with pytest.raises(Unrepresentable, match=match):
        cheby_kan.write(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------- sums of splines


MODELS = {
    "plain": lambda: random(kan([2, 3, 1])),
    "scaled": lambda: random(kan([2, 3, 1], scaled=True)),
    "no base": lambda: random(kan([2, 3, 1], base=None)),
    "identity": lambda: random(kan([2, 3, 1], base="identity")),
    "pruned": lambda: (lambda net: Model(*masked(net, net.init(5), [[0, 1, 2], [0, 2, 3], [0, 1]])[:2]))(kan([3, 4, 2])),
    "scales of nodes": lambda: random(kan([2, 3, 1], scaled=True, affine=("node_scale", "subnode_scale"))),
    "columns": lambda: random(kan([2, 3, 1]), width=4, columns=(3, 1)),
}
BIASED = {
    "bias": lambda: random(kan([2, 3, 1], bias=True)),
    "affine": lambda: random(kan([2, 3, 1], bias=True, affine=("node_scale", "node_bias", "subnode_scale", "subnode_bias"))),
}


def equal(library, model, path):
    report = library.write(model, path)
    again, _ = library.read(path, **report.reading)
    x = np.random.default_rng(1).normal(0, 0.9, (40, model.width))
    near(again.raw(x), model.raw(x), 1e-14)
    assert not report.differs
    return str(report)


@pytest.mark.parametrize("name", [*MODELS, *BIASED])
def test_models_of_kanref_in_jaxkan(name, tmp_path):
    text = equal(jaxkan, (MODELS | BIASED)[name](), tmp_path / "x.npz")
    assert "KAN([" in text and "'spline', dict(k=3, G=5" in text


@pytest.mark.parametrize("name", [*MODELS, *BIASED])
def test_models_of_kanref_in_efficient_kan(name, tmp_path):
    if name in MODELS:
        text = equal(efficient_kan, MODELS[name](), tmp_path / "x.safetensors")
        assert "spline_order=3, grid_size=5" in text
        assert ("base_activation=torch.nn.Identity" in text) == (name == "identity")
        return
    with pytest.raises(Unrepresentable, match="layer 0: efficient-kan has no biases"):
        efficient_kan.write(BIASED[name](), tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


OTHER = BSpline.uniform(2, 4, 3)
SPLINES = spline_layer(2, 2, OTHER)


@pytest.mark.parametrize(
    ("net", "match"),
    [
        (lambda: kan([2, [1, 1]]), "has no product nodes, this one has 1"),
        (lambda: kan([2, 1], outside="linear"), 'outside="linear"'),
        (lambda: kan([2, 1], inputs=MinMax([0, 0], [1, 1])), "has no input map MinMax"),
        (lambda: kan([2, 1], degree=0), "0 at the right end for degree 0"),
        (lambda: kan([2, 1], base="sin"), "the base function sin"),
        (lambda: KAN((spline_layer(2, 2, OTHER), spline_layer(2, 1, OTHER, base="tanh"))), "one base function, silu, not"),
        (lambda: KAN((Layer({**SPLINES.terms, "s": Symbolic((2, 2), ((0, 0, LIBRARY["sin"]),))}),)), "no formulas on edges"),
        (lambda: KAN((Layer({"c": Linear(Chebyshev(2), Full((1, 1, 3)))}),)), "is neither spline, base function nor formula"),
        (lambda: KAN((spline_layer(1, 1, BSpline([[0, 0, 0, 1, 2, 2.0]], 1)),)), "NaN at repeated knots"),
        (lambda: KAN((Layer(SPLINES.terms, nodes=Nodes((2,))),)), "has no product nodes"),
    ],
)
@pytest.mark.parametrize("library", [efficient_kan, jaxkan])
def test_what_sums_of_splines_cannot_say(library, net, match, tmp_path):
    model = random(net())
    with pytest.raises(Unrepresentable, match=match):
        library.write(model, tmp_path / "x.npz")
    assert not list(tmp_path.iterdir())


def test_layers_of_different_grids(tmp_path):
    model = random(KAN((spline_layer(2, 2, BSpline.uniform(2, 4, 3)), spline_layer(2, 1, BSpline.uniform(2, 5, 2)))))
    with pytest.raises(Unrepresentable, match=r"layers differ in degree and intervals, \[\(2, 5\), \(3, 4\)\]"):
        jaxkan.write(model, tmp_path / "x.npz")
    assert "build each KANLinear with its own" in equal(efficient_kan, model, tmp_path / "x.pt")


def test_grids_that_flax_does_not_keep(tmp_path):
    state = tensors.read_arrays(DATA / "jaxkan_spline.msgpack")
    bare = {name: a for name, a in state.items() if not name.startswith("grids")}
    tensors.write_arrays(tmp_path / "x.msgpack", bare)
    with pytest.raises(FileError, match="no grids.0: flax does not keep knots. Save layer.grid.item"):
        jaxkan.read(tmp_path / "x.msgpack")
    x = CASES["jaxkan_spline.msgpack"]["x"]
    expected = read("jaxkan_spline.msgpack")[0].raw(x)
    grids = [state["grids.0"], state["grids.1"]]
    assert_array_equal(jaxkan.read(tmp_path / "x.msgpack", grids=grids)[0].raw(x), expected)
    items = {f"layers.{l}.grid.item": a for l, a in enumerate(grids)}
    tensors.write_arrays(tmp_path / "x.npz", bare | items)
    assert_array_equal(jaxkan.read(tmp_path / "x.npz")[0].raw(x), expected)
    assert jaxkan.uniform(2, 4, 3).shape == (2, 11) and jaxkan.uniform(1, 3, 1, 0, 3).tolist() == [[-1, 0, 1, 2, 3, 4]]


@pytest.mark.parametrize("library", [efficient_kan, fast_kan, jaxkan])
def test_a_base_that_is_no_function(library):
    with pytest.raises(TypeError, match="base must be a Pointwise, as kanref.bases.silu, but it is 'silu'"):
        library.read(DATA / "efficient.pt", base="silu")


@pytest.mark.parametrize(
    ("name", "key", "change", "match"),
    [
        ("efficient.pt", "layers.0.grid", lambda a: a[:2], "grid of layer 0 must be floats of shape"),
        ("efficient.pt", "layers.0.grid", lambda a: None, "degree of layer 0|lacks grid"),
        ("efficient.pt", "layers.1.base_weight", lambda a: None, "layer 1 lacks base_weight"),
        ("efficient.pt", "layers.1.spline_scaler", lambda a: a.T, "spline_scaler of layer 1 must be floats of shape"),
        ("efficient.pt", "layers.0.spline_weight", lambda a: a[0], "must have 3 axes, but it has shape"),
        ("efficient.pt", "layers.0.spline_weight", lambda a: a * np.inf, "must be finite"),
        ("fast.pt", "layers.0.rbf.grid", lambda a: a[:4], "4 centres and spline_linear.weight of shape"),
        ("fast.pt", "layers.0.layernorm.bias", lambda a: None, "one of layernorm.weight and layernorm.bias"),
        ("jaxkan_spline.msgpack", "grids.0", lambda a: a[:1], "grid of layer 0 must be floats of shape"),
        ("jaxkan_base.msgpack", "layers.0.c_basis", lambda a: a[:5], "no c_res or c_spl says how many inputs"),
        ("jaxkan_spline.msgpack", "layers.1.c_basis", lambda a: None, "lacks|has the layers|cannot be rebuilt"),
    ],
)
def test_files_that_contradict_themselves(tmp_path, name, key, change, match):
    state = dict(tensors.read_arrays(DATA / name))
    state[key] = change(np.array(state[key]))
    tensors.write_arrays(tmp_path / "x.pt", {key: a for key, a in state.items() if a is not None})
    with pytest.raises(FileError, match=match):
        READERS[name][0].read(tmp_path / "x.pt")


@pytest.mark.parametrize(
    ("name", "key", "match"),
    [("efficient.pt", "layers.0.grid", "efficient-kan gives NaN"), ("jaxkan_spline.msgpack", "grids.0", "jaxKAN gives NaN")],
)
def test_repeated_knots_are_refused(tmp_path, name, key, match):
    state = dict(tensors.read_arrays(DATA / name))
    state[key] = np.repeat(state[key][:, ::2], 2, 1)[:, : state[key].shape[1]]
    tensors.write_arrays(tmp_path / "x.npz", state)
    with pytest.raises(Unrepresentable, match=match):
        READERS[name][0].read(tmp_path / "x.npz")


def test_prefixes_and_what_is_beside(tmp_path):
    state = {f"module.kan.{name}": a for name, a in tensors.read_arrays(DATA / "efficient.pt").items()}
    torch_zip.write(tmp_path / "x", state | {"module.head.weight": np.ones((2, 2))})
    model, report = efficient_kan.read(tmp_path / "x")
    near(model.raw(CASES["efficient.pt"]["x"]), CASES["efficient.pt"]["y"])
    assert "module.head.weight, which is no part of a KAN" in str(report)
    again = {f"other.{name.removeprefix('module.kan.')}": a for name, a in state.items()}
    torch_zip.write(tmp_path / "x", state | again)
    with pytest.raises(FileError, match="has no layers.0.spline_weight, or several such sets"):
        efficient_kan.read(tmp_path / "x")


# --------------------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_in_every_format(tmp_path, suffix):
    arrays = {"layers.0.W": np.arange(6.0).reshape(2, 3).T, "layers.10.b": np.ones(3, "f4"), "c": np.array(2.5)}
    tensors.write_arrays(tmp_path / f"x{suffix}", arrays)
    found = tensors.read_arrays(tmp_path / f"x{suffix}")
    assert set(found) == set(arrays)
    for name, a in arrays.items():
        assert_array_equal(found[name], a, strict=True)
    kinds = {".pt": "torch", ".npz": "npz", ".safetensors": "safetensors", ".msgpack": "msgpack"}
    assert tensors.format_of(tmp_path / f"x{suffix}") == kinds[suffix]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_refused(tmp_path, suffix):
    """Cut anywhere, or with a byte changed: a FileError or, rarely, other numbers of the same shape; never anything else."""
    tensors.write_arrays(tmp_path / f"x{suffix}", {"layers.0.W": np.arange(6.0), "b": np.ones((2, 2), "f4")})
    data = (tmp_path / f"x{suffix}").read_bytes()
    rng = np.random.default_rng(0)
    for n in range(0, len(data), max(1, len(data) // 40)):
        (tmp_path / "y").write_bytes(data[:n])
        with pytest.raises(FileError):
            tensors.read_arrays(tmp_path / "y")
    for _ in range(150):
        bad = bytearray(data)
        bad[rng.integers(len(bad))] = rng.integers(256)
        (tmp_path / "y").write_bytes(bad)
        try:
            found = tensors.read_arrays(tmp_path / "y")
            assert sum(a.nbytes for a in found.values()) <= 2 * len(data)
        except FileError:
            pass
    with pytest.raises(FileNotFoundError):
        tensors.read_arrays(tmp_path / "nowhere")


def npy(header, data=b""):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    ("record", "match"),
    [
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,), }"), "and float64 with 0 bytes"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n"), "O'.*only numbers are read"),
        (npy("{'descr': '<c16', 'fortran_order': False, 'shape': (1,), }", bytes(16)), "only numbers are read"),
        (npy("__import__('os').system('touch executed')"), "only numbers are read, as NumPy writes them"),
        (b"\x93NUMPY\x03\x00", "npy version"),
        (b"text", "a record that is no array"),
    ],
)
def test_hostile_arrays_in_npz(tmp_path, monkeypatch, record, match):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.npz", "w") as file:
        file.writestr("a.npy", record)
    with pytest.raises(FileError, match=match):
        tensors.read_arrays("x.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


def test_zip_bombs_and_strangers_in_npz(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.npy", bytes(2 * 10**7))
    with pytest.raises(FileError, match="more than 64 times as large unpacked"):
        tensors.read_arrays(tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr("../evil.py", b"x")
    with pytest.raises(FileError, match="it has a record '../evil.py'"):
        tensors.read_arrays(tmp_path / "x.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]
    np.savez_compressed(tmp_path / "y.npz", a=np.zeros((3, 2), order="F"))
    assert_array_equal(tensors.read_arrays(tmp_path / "y.npz")["a"], np.zeros((3, 2)))


def extension(kind, data):
    return b"\xc7" + bytes([len(data), kind]) + data


def nested_extensions(count):
    """Each inside the one before, 6 bytes of head for each."""
    return b"".join(b"\xc9" + struct.pack(">I", 6 * (count - n - 1)) + b"\x01" for n in range(count))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "too early"),
        (b"\xc1", "0xc1 is not msgpack"),
        (b"\x81\xa1a", "too early"),
        (b"\xdf\xff\xff\xff\xff", "too early"),
        (b"\xdd\xff\xff\xff\xff", "too early"),
        (b"\xc6\xff\xff\xff\xff", "too early"),
        (b"\x91" * 100 + b"\xc0", "more than 40 levels"),
        (b"\x81\x90\xc0", "neither text nor integer"),
        (b"\x82\xa1a\xc0\xa1a\xc0", "comes twice"),
        (b"\xc0\xc0", "1 bytes follow the end"),
        (b"\xa2\xff\xff", "utf-8"),
        (extension(2, b"\x90"), "an extension of type 2"),
        (nested_extensions(10**4), "an extension in another"),
        (extension(1, b"\x90"), "without shape, type and bytes"),
        (extension(1, b"\x93\x91\x02\xa7float64\xc4\x08" + bytes(8)), r"shape \[2\] and type float64 with 8 bytes"),
        (extension(1, b"\x93\x91\xcf" + b"\x7f" * 8 + b"\xa7float64\xc4\x00"), "without shape"),
        (extension(1, b"\x93\x91\xce" + b"\x7f" * 4 + b"\xa7float64\xc4\x00"), "with 0 bytes"),
        (extension(1, b"\x93\x91\xff\xa7float64\xc4\x00"), "without shape"),
        (extension(1, b"\x93\x91\x01\xa6object\xc4\x08" + bytes(8)), "an array of type 'object'"),
        (b"\x81\xb9__msgpack_chunked_array__\xc3", "in pieces"),
    ],
)
def test_hostile_msgpack(tmp_path, data, match):
    with pytest.raises(ValueError, match=match):
        msgpack_subset.loads(data)


def test_msgpack_values():
    assert msgpack_subset.loads(b"\x94\xc0\xc3\xca\x3f\x00\x00\x00\xd1\xff\xfe") == [None, True, 0.5, -2]
    assert msgpack_subset.loads(b"\xcb" + struct.pack(">d", 0.1)) == 0.1 and msgpack_subset.loads(b"\xe0") == -32
    half = extension(1, b"\x93\x91\x02\xa8bfloat16\xc4\x04\x80\x3f\x00\xc0")
    assert_array_equal(msgpack_subset.loads(half), np.array([1, -2], "f4"), strict=True)
    for value in ({}, {"a" * n: n * 7919 for n in (1, 31, 32, 300, 70000)}, {n: "" for n in range(70000)}):
        assert msgpack_subset.loads(msgpack_subset.dumps(value)) == value
    for n in (0, 1, 4, 30, 300, 70000):
        a = np.arange(float(n))
        assert_array_equal(msgpack_subset.loads(msgpack_subset.dumps({"a": a}))["a"], a, strict=True)
    with pytest.raises(TypeError, match="only dictionaries, arrays, texts and integers"):
        msgpack_subset.dumps({"a": [1]})


# --------------------------------------------------------------------------------------------------------------- convert


def test_every_format_to_every_other(tmp_path):
    """A plain KAN through all of them, and home again."""
    model = random(kan([2, 3, 1], scaled=True))
    x = np.random.default_rng(2).normal(0, 0.8, (30, 2))
    model.save(tmp_path / "0.safetensors")
    path = tmp_path / "0.safetensors"
    chain = [("pykan", "1"), ("efficient-kan", "2.pt"), ("jaxkan", "3.npz"), ("pykan", "4"), ("jaxkan", "5.msgpack")]
    for to, name in [*chain, ("efficient-kan", "6.safetensors"), ("kanref", "7.safetensors")]:
        reports = convert.convert(path, tmp_path / name, to)
        assert convert.kind_of(tmp_path / name) == to
        assert len(reports) == 1 + (path.name != "0.safetensors") and "outputs differ by 0.0e+00" in str(reports[-1])
        path = tmp_path / name
    home = Model.load(path)
    assert_array_equal(home.theta, model.theta)
    assert_array_equal(home.raw(x), model.raw(x))


@pytest.mark.parametrize("name", ["efficient.pt", "jaxkan_spline.msgpack", "jaxkan_base.msgpack"])
def test_files_of_others_become_pykan_s(name, tmp_path):
    reports = convert.convert(DATA / name, tmp_path / "x")
    near(pykan.read(tmp_path / "x")[0].raw(CASES[name]["x"]), CASES[name]["y"], 2e-6 if "jax" in name else 1e-12)
    assert [report.route for report in reports][1] == "kanref to pykan"


@pytest.mark.parametrize("name", ["fast.pt", "radial.pt"])
def test_fast_kan_becomes_fast_kan(name, tmp_path):
    convert.convert(DATA / name, tmp_path / "x.safetensors", "fast-kan")
    near(fast_kan.read(tmp_path / "x.safetensors")[0].raw(CASES[name]["x"]), CASES[name]["y"])
    with pytest.raises(Unrepresentable, match="is neither spline, base function nor formula"):
        convert.convert(DATA / name, tmp_path / "y")
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("a.safetensors", "kanref"),
        ("a.npz", "jaxkan"),
        ("a.msgpack", "jaxkan"),
        ("model/0.1", "pykan"),
        ("checkpoint", "pykan"),
        ("x.12", "pykan"),
    ],
)
def test_targets_by_suffix(target, kind):
    assert convert.kind_of_target(target) == kind


def test_what_convert_refuses(tmp_path):
    with pytest.raises(ValueError, match="what a.pt shall be is not clear from its suffix .pt; add --to with one of kanref"):
        convert.convert(DATA / "efficient.pt", tmp_path / "a.pt")
    with pytest.raises(ValueError, match="to must be one of 'kanref', 'pykan'"):
        convert.convert(DATA / "efficient.pt", tmp_path / "a.pt", "torch")
    (tmp_path / "a_config.yml").write_text("")
    with pytest.raises(FileExistsError, match="a_config.yml exists; choose another file or add --overwrite"):
        convert.convert(DATA / "efficient.pt", tmp_path / "a")
    convert.convert(DATA / "efficient.pt", tmp_path / "a", overwrite=True)
    with pytest.raises(ValueError, match="is of efficient-kan, whose reader takes no columns"):
        convert.convert(DATA / "efficient.pt", tmp_path / "b", columns=[0])
    with pytest.raises(FileNotFoundError, match="there is no file .*nothing"):
        convert.convert(tmp_path / "nothing", tmp_path / "b")
    with pytest.raises(FileError, match="is a folder without a model.safetensors"):
        convert.convert(tmp_path, tmp_path / "b")
    torch_zip.write(tmp_path / "strange", {"head.weight": np.ones(2)})
    with pytest.raises(FileError, match="is of no library known here .*; it has head.weight"):
        convert.convert(tmp_path / "strange", tmp_path / "b")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FileError, match="is of no format known here: torch's zip, safetensors, npz or msgpack"):
        convert.convert(tmp_path / "text", tmp_path / "b")
    (tmp_path / "old").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(FileError, match="a bare pickle or in torch's format before 1.6"):
        convert.convert(tmp_path / "old", tmp_path / "b")
    with pytest.raises(Unrepresentable, match="kanref to efficient-kan is impossible: layer 0: .* no product nodes"):
        convert.convert(DATA / "products", tmp_path / "b.pt", "efficient-kan", strict=False)
    assert not (tmp_path / "b.pt").exists()
    reports = convert.convert(DATA / "symbolic", tmp_path / "b.pt", "efficient-kan", strict=False)
    assert "the function differs  layer 0: efficient-kan has no formulas on edges, this one has 6" in str(reports[1])
    with pytest.raises(FileError, match="act_fun.0.coef"):
        pykan.read(tmp_path / "strange")


def test_options_of_the_source_s_reader(tmp_path):
    reports = convert.convert(DATA / "inputs", tmp_path / "x.safetensors", columns=[0, 2], width=4)
    case = json.loads((DATA / "pykan.json").read_text())["inputs"]
    near(Model.load(tmp_path / "x.safetensors").raw(np.array(case["x"])), np.array(case["y"]))
    assert "pykan to kanref" in str(reports[0]) and "read again: outputs differ by 0.0e+00" in str(reports[1])
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "x.safetensors").rename(folder / "model.safetensors")
    assert convert.kind_of(folder) == "kanref"
    assert convert.load(folder)[0].columns == (0, 2)
    with pytest.raises(ValueError, match="kanref's own files need nothing beside them"):
        convert.load(folder, columns=[1])
