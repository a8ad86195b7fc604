"""What `kanref convert` writes is there whole and verified, or not at all; what it would replace stays until then."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from kanref import bases
from kanref.bases import BSpline
from kanref.cli import main
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.gaussians import Gaussians
from kanref.interop import convert, efficient_kan, fast_kan, jaxkan, pykan, torch_zip
from kanref.interop.report import Unrepresentable
from kanref.interop.staged import staged
from kanref.model import Model
from kanref.network import KAN, Layer, kan
from kanref.nodes import Nodes
from kanref.terms import Linear
from kanref.weights import Full

DATA = Path(__file__).parent / "data" / "interop"
TARGETS = {"kanref": "b.safetensors", "pykan": "b", "efficient-kan": "b.pt", "jaxkan": "b.npz"}


def random(net, seed=0, **options):
    return Model(net, np.random.default_rng(seed).normal(0, 0.5, net.size), **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def failing(function, at, error):
    """The function, which raises an error in its call number `at` from 0."""
    calls = iter(range(1000))

    def call(*arguments, **options):
        if next(calls) == at:
            raise error
        return function(*arguments, **options)

    return call


@pytest.fixture(params=["new", "there before"])
def before(request, tmp_path):
    """What is in the folder: nothing, or other models under the names that will be written."""
    if request.param == "there before":
        for kind, name in TARGETS.items():
            convert.convert(DATA / "efficient.pt", tmp_path / name, kind)
    return contents(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("at", range(3))
def test_a_checkpoint_of_three_files_is_whole_or_not_there(tmp_path, monkeypatch, capsys, before, at, error):
    """Stopped while the files take their places, one, two or none of them done."""
    monkeypatch.setattr(os, "replace", failing(os.replace, 3 + 3 + at, error))  # three each in two folders come before
    code = main(["convert", str(DATA / "sums"), str(tmp_path / "b"), "--overwrite"])
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    monkeypatch.undo()
    assert contents(tmp_path) == before and "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_nothing_is_written_unless_it_is_verified(tmp_path, monkeypatch, before, kind, error):
    """Stopped when all is written but not yet compared."""
    monkeypatch.setattr(convert, "_compare", failing(convert._compare, 0, error))
    with pytest.raises(type(error)):
        convert.convert(DATA / "efficient.pt", tmp_path / TARGETS[kind], kind, overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("at", range(3))
def test_pykan_write_stopped_while_it_writes(tmp_path, monkeypatch, before, at):
    """In the middle of one of its three files."""
    model, _ = pykan.read(DATA / "sums")
    monkeypatch.setattr(os, "fsync", failing(os.fsync, at, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        pykan.write(model, tmp_path / "b")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("kind", TARGETS)
def test_overwrite(tmp_path, capsys, kind):
    target = tmp_path / TARGETS[kind]
    source, options = (DATA / "sums", ["--to", kind]) if kind != "efficient-kan" else (DATA / "efficient.pt", ["--to", kind])
    for path in convert.written(target, kind):
        Path(path).write_text("precious")
    there = contents(tmp_path)
    assert main(["convert", str(source), str(target), *options]) == 2
    assert "exists; choose another file or add --overwrite" in capsys.readouterr().err and contents(tmp_path) == there
    assert main(["convert", str(source), str(target), *options, "--overwrite"]) == 0
    assert "checked" in capsys.readouterr().out and set(contents(tmp_path)) == set(there)
    assert b"precious" not in contents(tmp_path).values()
    assert convert.kind_of(target) == kind


def test_a_model_may_replace_its_own_file(tmp_path):
    for path in DATA.glob("sums_*"):
        shutil.copy(path, tmp_path)
    old, _ = pykan.read(tmp_path / "sums")
    convert.convert(tmp_path / "sums", tmp_path / "sums", overwrite=True)
    np.testing.assert_array_equal(pykan.read(tmp_path / "sums")[0].theta, old.theta)


def test_what_stands_in_the_way(tmp_path):
    (tmp_path / "b.npz").mkdir()
    with pytest.raises(IsADirectoryError, match="b.npz: it is a folder; choose another name"):
        convert.convert(DATA / "efficient.pt", tmp_path / "b.npz", overwrite=True)
    with pytest.raises(FileNotFoundError, match="the folder .*nowhere does not exist; create it first"):
        convert.convert(DATA / "efficient.pt", tmp_path / "nowhere" / "b.npz")
    os.symlink("nowhere", tmp_path / "c.npz")
    with pytest.raises(FileExistsError, match="c.npz exists"):
        convert.convert(DATA / "efficient.pt", tmp_path / "c.npz")
    assert sorted(os.listdir(tmp_path)) == ["b.npz", "c.npz"]


def test_files_take_their_places_together(tmp_path):
    (tmp_path / "a").write_text("old")
    with staged([tmp_path / "a", tmp_path / "b"]) as folder:
        for name in "ab":
            Path(folder, name).write_text(f"new {name}")
        assert (tmp_path / "a").read_text() == "old" and not (tmp_path / "b").exists()
    assert contents(tmp_path) == {"a": b"new a", "b": b"new b"}
    with pytest.raises(FileNotFoundError), staged([tmp_path / "a", tmp_path / "b"]) as folder:
        Path(folder, "a").write_text("newer")  # and no b
    assert contents(tmp_path) == {"a": b"new a", "b": b"new b"}


# -------------------------------------------------------------------------------------------------------- what is checked


def logarithm(shift):
    """log(x + shift)"""
    symbolic = Symbolic((1, 1), ((0, 0, LIBRARY["log"]),))
    return Model(KAN((Layer({"symbolic": symbolic}),)), np.array([1.0, shift, 1, 0]))


def test_a_writer_that_errs_is_found_out(tmp_path, monkeypatch, capsys):
    """Its file is read again and computes something else: nothing is written, unless --lossy accepts it."""
    write = jaxkan.write

    def wrong(model, path, strict):
        theta = model.theta.copy()
        theta[3] += 1e-3
        return write(Model(model.net, theta), path, strict)

    monkeypatch.setattr(jaxkan, "write", wrong)
    assert main(["convert", str(DATA / "efficient.pt"), str(tmp_path / "b.npz")]) == 2
    assert "would change the function: read again, outputs differ by" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main(["convert", str(DATA / "efficient.pt"), str(tmp_path / "b.npz"), "--lossy"]) == 0
    assert "the function differs  read again, outputs differ by" in capsys.readouterr().out


@pytest.mark.parametrize("shift", [np.nan, 0.0])
def test_a_file_with_numbers_in_other_places_is_found_out(tmp_path, monkeypatch, shift):
    """It gives NaN where the source gives numbers, or numbers where the source gives NaN."""
    model = logarithm(0.0)
    model.save(tmp_path / "a.safetensors")
    read = pykan.read

    def broken(path, **options):
        y = lambda x: np.where((x > 0.5) if np.isnan(shift) else (x <= 0), shift, model.raw(x))
        return type("Broken", (), {"raw": staticmethod(y)}), read(path, **options)[1]

    monkeypatch.setattr(pykan, "read", broken)
    with pytest.raises(Unrepresentable, match="read again, outputs differ by"):
        convert.convert(tmp_path / "a.safetensors", tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("shift", [0, -9])
def test_outputs_that_are_not_finite_are_counted(tmp_path, shift):
    logarithm(shift).save(tmp_path / "a.safetensors")
    (report,) = convert.convert(tmp_path / "a.safetensors", tmp_path / "b")
    if shift:
        assert report.checked == ["read again, but none of the outputs on 200 random samples is finite: nothing is compared"]
    else:
        assert "of whose outputs 88 are not finite" in str(report) and "outputs differ by 0.0e+00" in str(report)


def test_large_networks_are_compared_on_fewer_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "SAMPLES", 5)
    random(kan([2, 1])).save(tmp_path / "a.safetensors")
    assert "on 5 random samples" in str(convert.convert(tmp_path / "a.safetensors", tmp_path / "b")[0])


def test_what_the_file_has_no_place_for_is_in_the_report(tmp_path):
    """Widths of Gaussians and base functions: the reader needs them, and convert gives them to it."""
    gauss = lambda P, Q, h: Linear(Gaussians(np.linspace(-1, 1, 4), h), Full((Q, P, 4)))
    net = KAN(
        (
            Layer({"base": Linear(bases.tanh, Full((2, 3, 1))), "rbf": gauss(3, 2, 0.9)}, bias=True),
            Layer({"rbf": gauss(2, 1, 0.4)}),
        )
    )
    model = random(net)
    model.save(tmp_path / "a.safetensors")
    (report,) = convert.convert(tmp_path / "a.safetensors", tmp_path / "b.pt", "fast-kan")
    assert report.reading == {"base": bases.tanh, "widths": [0.9, 0.4]} and "outputs differ by 0.0e+00" in str(report)
    x = np.random.default_rng(0).normal(size=(9, 3))
    np.testing.assert_array_equal(fast_kan.read(tmp_path / "b.pt", **report.reading)[0].raw(x), model.raw(x))
    assert efficient_kan.write(random(kan([2, 1], base="tanh")), tmp_path / "c.pt").reading == {"base": bases.tanh}


def test_fast_kan_has_one_activation(tmp_path):
    rbf = Linear(Gaussians(np.linspace(-1, 1, 4), 2 / 3), Full((2, 2, 4)))
    layer = lambda f: Layer({"base": Linear(f, Full((2, 2, 1))), "rbf": rbf})
    with pytest.raises(Unrepresentable, match="layer 1: fast-kan has one activation, tanh, not silu too"):
        fast_kan.write(random(KAN((layer(bases.tanh), layer(bases.silu)))), tmp_path / "x.pt")


@pytest.mark.parametrize("change", ["base", "nodes", "scale"])
def test_what_only_looks_like_a_layernorm_is_refused(tmp_path, change):
    """The three layers are compared whole, with their base functions and nodes."""
    model, _ = fast_kan.read(DATA / "fast.pt")
    layers = list(model.net.layers)
    first, third = layers[0], layers[2]
    if change == "base":
        layers[0] = Layer({"linear": Linear(bases.tanh, first.terms["linear"].weights)})
    elif change == "nodes":
        layers[0] = Layer(first.terms, nodes=Nodes((1,) * first.sums, constants={"node_bias": np.ones(first.sums)}))
    else:
        scale = {"node_scale": np.full(len(third.nodes.arity), 2.0)}
        layers[2] = Layer(third.terms, nodes=Nodes(third.nodes.arity, constants=third.nodes.constants | scale))
    with pytest.raises(Unrepresentable, match="layer 0: no Gaussians"):
        fast_kan.write(Model(KAN(tuple(layers)), model.theta), tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------------------ knots


CLOSE = BSpline([[-2, -1, 0, 1e-9, 1, 2.0]], 1)  # apart in float64; 1 + 1e-9 is 1 in float32


@pytest.mark.parametrize("library", [pykan, efficient_kan, jaxkan])
def test_knots_that_float32_ties_are_repeated_knots(tmp_path, library):
    basis = BSpline(CLOSE.knots + 1, 1)
    model = random(KAN((Layer({"spline": Linear(basis, Full((1, 1, 4)))}),)))
    library.write(model, tmp_path / "x.npz" if library is jaxkan else tmp_path / "x")
    single = Model(model.net, model.theta.astype("f4"))
    with pytest.raises(Unrepresentable, match="repeated knots"):
        library.write(single, tmp_path / "y.npz")
    report = library.write(single, tmp_path / "y.npz", strict=False)
    assert "knots are rounded to float32" in str(report)


WRONG = [("sums", r"evaluates wrongly \(its values there are too small\)"), ("old_pykan", "gives NaN")]


@pytest.mark.parametrize(("name", "match"), WRONG)
def test_repeated_knots_of_pykan_are_refused_and_said(tmp_path, capsys, name, match):
    """Row B1: pykan computes another function there than its coefficients say."""
    state = dict(torch_zip.read(DATA / ("sums_state" if name == "sums" else name)))
    knots = np.array(state["act_fun.0.grid"])
    knots[0, 1] = knots[0, 2]
    path = tmp_path / "x"
    torch_zip.write(path, state | {"act_fun.0.grid": knots})
    config = {} if name == "sums" else {"symbolic.funs_name.0": [["0"] * 3, ["0"] * 3, ["0", "sin", "0"], ["0"] * 3]}
    with pytest.raises(Unrepresentable, match=f"layer 0: repeated knots, where pykan {match}; kanref computes"):
        pykan.read(path, config=config)
    assert len(pykan.read(path, config=config, strict=False)[1].differs) == 1
    if name == "sums":
        assert main(["convert", str(path), str(tmp_path / "y.safetensors")]) == 2
        assert "Give strict=False (--lossy) to accept that" in capsys.readouterr().err
        assert main(["convert", str(path), str(tmp_path / "y.safetensors"), "--lossy"]) == 0
        assert "the function differs  layer 0: repeated knots" in capsys.readouterr().out
