"""kanref convert, and models of fast-kan in kanref's own files."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from kanref.cli import main
from kanref.interop import fast_kan
from kanref.model import Model

DATA = Path(__file__).parent / "data" / "interop"


def test_convert_there_and_back(tmp_path, capsys):
    case = json.loads((DATA / "pykan.json").read_text())["affine"]
    assert main(["convert", str(DATA / "affine"), str(tmp_path / "a.safetensors")]) == 0
    shown = capsys.readouterr().out
    assert "pykan to kanref" in shown and "sp_trainable false in pykan" in shown and "outputs differ by 0.0e+00" in shown
    assert main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b")]) == 0
    assert main(["convert", str(tmp_path / "b_state"), str(tmp_path / "c.safetensors"), "--to", "kanref"]) == 0
    np.testing.assert_allclose(Model.load(tmp_path / "c.safetensors").raw(np.array(case["x"])), case["y"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["products", "{tmp}/x.pt"], "what x.pt shall be is not clear from its suffix .pt; add --to with one of kanref, pykan"),
        (["symbolic", "{tmp}/x.pt", "--to", "efficient-kan"], "Give strict=False (--lossy) to accept that"),
        (["nothing", "{tmp}/x"], "there is no file"),
        (["pykan.json", "{tmp}/x"], "is of no format known here"),
        (["sums", "{tmp}/x.npz", "--columns", "0,9"], "columns must be 3 of 0..9"),
        (["efficient.pt", "{tmp}/x", "--columns", "0"], "is of efficient-kan, whose reader takes no columns"),
        (["sums", "{tmp}/there.npz"], "there.npz exists; choose another file or add --overwrite"),
    ],
)
def test_what_cannot_be_converted(tmp_path, capsys, arguments, message):
    (tmp_path / "there.npz").write_text("")
    source, *rest = (a.format(tmp=tmp_path) for a in arguments)
    assert main(["convert", str(DATA / source), *rest]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1 and not shown.out
    assert [p.name for p in tmp_path.iterdir()] == ["there.npz"]


def test_what_is_lost_is_said(tmp_path, capsys):
    assert main(["convert", str(DATA / "symbolic"), str(tmp_path / "x.pt"), "--to", "efficient-kan", "--lossy"]) == 0
    assert "the function differs  layer 0: efficient-kan has no formulas on edges, this one has 6" in capsys.readouterr().out
    assert main(["convert", str(DATA / "sums"), str(tmp_path / "x.pt"), "--to", "efficient-kan", "--overwrite"]) == 0


@pytest.mark.parametrize("name", ["fast.pt", "radial.pt"])
def test_gaussians_have_their_place_in_files(tmp_path, name):
    model, _ = fast_kan.read(DATA / name)
    model.save(tmp_path / "x.safetensors")
    again = Model.load(tmp_path / "x.safetensors")
    x = np.random.default_rng(0).normal(size=(9, model.width))
    assert_array_equal(again.raw(x), model.raw(x))
    assert repr(again.net) == repr(model.net)
