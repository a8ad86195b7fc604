"""pykan's checkpoints without pykan: real ones give the same predictions, written ones come back, hostile ones do nothing.

data/interop holds checkpoints that pykan 0.2.8 wrote (by tests/test_interop_live.py), "old_pykan" a state dict of pykan 0.0.5,
and the predictions of the models that wrote them.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases, lotra
from kanref.bases import BSpline, Chebyshev, MinMax, Pointwise
from kanref.edges import Symbolic
from kanref.free_knots import FreeKnots
from kanref.functions import LIBRARY, Function
from kanref.interop import pykan, torch_zip
from kanref.interop.report import Report, Unrepresentable
from kanref.io import FileError
from kanref.model import Model
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.nodes import Nodes
from kanref.slim import slim
from kanref.sparsify import masked
from kanref.terms import Linear
from kanref.weights import Full, Masked

DATA = Path(__file__).parent / "data" / "interop"
CASES = {
    name: {key: value if key == "columns" else np.array(value) for key, value in case.items()}
    for name, case in json.loads((DATA / "pykan.json").read_text()).items()
}
OLD = {"symbolic.funs_name.0": [["0"] * 3, ["0"] * 3, ["0", "sin", "0"], ["0"] * 3]}


def read(name, **options):
    case = CASES[name]
    width = {"width": case["x"].shape[1]} if case["columns"] else {}
    return pykan.read(DATA / name, columns=case["columns"], **width, **options)


def near(found, expected, tolerance=1e-12):
    assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


# --------------------------------------------------------------------------------------------------------- real files


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_pykan(name):
    model, report = read(name)
    case = CASES[name]
    assert model.theta.dtype == (np.float32 if name == "single" else np.float64)
    near(model.raw(case["x"]), case["y"], 1e-6 if name == "single" else 1e-12)
    assert not report.differs and "pykan to kanref" in str(report)


def test_the_files_cover_what_they_claim():
    model = {name: read(name)[0] for name in CASES}
    arity = {name: [layer.nodes.arity if layer.nodes else None for layer in m.net.layers] for name, m in model.items()}
    assert arity["products"] == [(1, 1, 2, 3), (1, 2)] and arity["cubes"] == [(1, 3, 3), None]
    assert [term.basis.degree for term in (layer.terms["spline"] for layer in model["cubes"].net.layers)] == [3, 4]
    assert {layer.terms["base"].basis for layer in model["cubes"].net.layers} == {bases.identity}
    assert {layer.terms["base"].basis for layer in model["numpy"].net.layers} == {bases.zero}
    names = {f.name for layer in model["symbolic"].net.layers for _, _, f in layer.terms["symbolic"].formulas}
    assert names == {"sin", "x^2", "gaussian", "tanh", "0", "abs", "exp"}
    both = {(q, p) for q, p, _ in model["symbolic"].net.layers[0].terms["symbolic"].formulas}
    assert (1, 0) in both and model["symbolic"].net.layers[0].terms["spline"].weights.mask[1, 0] == 1  # mode "ns"
    assert model["pruned"].net.widths == (4, 3, 2)
    assert any(isinstance(layer.terms["base"].weights, Masked) for layer in model["pruned"].net.layers)
    assert model["inputs"].columns == (0, 2) and model["inputs"].width == 4
    assert "torch.nn.modules.activation.SiLU" in (DATA / "inputs_config.yml").read_text()
    assert "numpy._core.multiarray.scalar" in (DATA / "numpy_config.yml").read_text()
    assert all(set(layer.nodes.trained) == set(layer.nodes.arrays) for layer in model["affine"].net.layers)
    assert len(model["affine"].net.layers[0].nodes.trained) == 4
    assert not (model["sums"].net.layers[0].terms["spline"].basis.steps > 0).any()  # an adapted grid


@pytest.mark.parametrize("name", CASES)
def test_there_and_back_is_exact(name, tmp_path):
    model, _ = read(name)
    report = pykan.write(model, tmp_path / "x", samples=CASES[name]["x"])
    again, _ = pykan.read(tmp_path / "x")
    assert_array_equal(again.theta, model.theta, strict=True)
    assert_array_equal(again.raw(CASES[name]["x"]), model.raw(CASES[name]["x"]))
    assert (again.columns, again.width, again.extra) == (model.columns, model.width, model.extra)
    assert_array_equal(pykan.samples(tmp_path / "x"), CASES[name]["x"].astype(model.theta.dtype), strict=True)
    assert not report.differs and not report.dropped
    state, written = torch_zip.read(DATA / f"{name}_state"), torch_zip.read(tmp_path / "x_state")
    assert list(state) == list(written)
    for key, a in state.items():
        if name != "inputs" and not (name == "symbolic" and key == "symbolic_fun.0.affine"):
            assert_array_equal(written[key], a)
            assert written[key].dtype == model.theta.dtype  # pykan's own masks may be float32 after pruning
    if name == "symbolic":  # rows of edges that are switched off are 0 afterwards
        on = state["symbolic_fun.0.mask"][..., None]
        assert_array_equal(written["symbolic_fun.0.affine"], on * state["symbolic_fun.0.affine"])
    own, config = (pykan._config(f"{folder}_config.yml") for folder in (DATA / name, tmp_path / "x"))
    if name != "inputs":
        assert config == own | pykan.SESSION


@pytest.mark.parametrize("name", ["sums", "sums_state", "sums_config.yml", "sums_cache_data"])
def test_every_file_of_a_checkpoint_names_it(name):
    assert pykan.read(DATA / name)[0].net.widths == (3, 4, 2)
    assert pykan.samples(DATA / name).shape == (5, 3)
    assert pykan.is_checkpoint(DATA / name) and not pykan.is_checkpoint(DATA / "old_pykan")


def test_a_state_dict_of_pykan_0_0():
    """It was made by: m = KAN([3, 4, 2], grid=4, k=3, seed=0).double(); coefficients and biases drawn from normal_();
    m.update_grid_from_samples(torch.randn(50, 3)); m.fix_symbolic(0, 1, 2, "sin", fit_params_bool=False) with (a, b, c, d) =
    (1.3, 0.2, 0.7, -0.4); m.remove_edge(0, 0, 0); torch.save(m.state_dict(), "old_pykan")."""
    case = json.loads((DATA / "old_pykan.json").read_text())
    model, report = pykan.read(DATA / "old_pykan", config=OLD)
    near(model.raw(np.array(case["x"])), np.array(case["y"]))
    assert [layer.nodes.trained for layer in model.net.layers] == [("node_bias",)] * 2
    assert "SiLU is taken" in str(report) and "does not store locks" in str(report)
    with pytest.raises(Unrepresentable, match=r"symbolic edge from 1 to 2 is not named; give config=\{\"symbolic.funs_name.0\""):
        pykan.read(DATA / "old_pykan")
    assert pykan.samples(DATA / "old_pykan") is None


@pytest.mark.parametrize("name", ["sigmoid", "cosh"])
def test_functions_that_only_pykan_0_0_knows(tmp_path, name):
    names = {"symbolic.funs_name.0": [["0"] * 3, ["0"] * 3, ["0", name, "0"], ["0"] * 3]}
    model, _ = pykan.read(DATA / "old_pykan", config=names)
    assert model.net.layers[0].terms["symbolic"].formulas == ((2, 1, LIBRARY[name]),)
    with pytest.raises(Unrepresentable, match=f"the unknown function '{name}'; give functions="):
        mask = lambda a: np.eye(*a.shape) * np.eye(1, a.shape[1])
        pykan.read(altered(tmp_path, config={"funs_name.1:\n- - '0'": f"funs_name.1:\n- - {name}"}, symbolic_fun__1__mask=mask))


def test_edges_of_pykan_0_0_with_knots_of_their_own(tmp_path):
    """Two sets of knots for an input become two terms, each masked to its edges."""
    state = dict(torch_zip.read(DATA / "old_pykan"))
    grid = state["act_fun.1.grid"].copy()  # rows j * 4 + i
    grid[5] = grid[1] * 1.5 + 0.1
    torch_zip.write(tmp_path / "x", state | {"act_fun.1.grid": grid})
    model, _ = pykan.read(tmp_path / "x", config=OLD)
    assert set(model.net.layers[1].terms) == {"base", "spline", "spline2"}
    x = np.random.default_rng(0).normal(size=(9, 4))
    knots = pykan.extended(grid, 3).reshape(2, 4, -1)
    own = {name: state[f"act_fun.1.{name}"].reshape(2, 4, -1) for name in ("coef", "scale_base", "scale_sp", "mask")}
    phi = np.zeros((9, 2, 4))
    for q in range(2):
        b = BSpline(knots[q], 3).dense(x)
        phi[:, q] = own["scale_sp"][q, :, 0] * np.einsum("npk,pk->np", b, own["coef"][q])
        phi[:, q] += own["scale_base"][q, :, 0] * x / (1 + np.exp(-x))
        phi[:, q] *= own["mask"][q, :, 0]
    near(model.net.edges(model.theta, 1, x), phi)
    with pytest.raises(Unrepresentable, match="2 terms of splines with knots of their own"):
        pykan.write(model, tmp_path / "y")
    assert not list(tmp_path.glob("y*"))


def test_a_state_dict_alone(tmp_path):
    shutil.copy(DATA / "sums_state", tmp_path / "model.pt")
    model, report = pykan.read(tmp_path / "model.pt")
    near(model.raw(CASES["sums"]["x"]), CASES["sums"]["y"])
    assert "the base function is not stored; SiLU is taken (give config)" in str(report)
    assert pykan.read(DATA / "pruned")[1].dropped == ["what concerns the session that wrote the file: state_id, auto_save"]
    shutil.copy(DATA / "products_state", tmp_path / "model.pt")
    with pytest.raises(FileError, match="product nodes, but no configuration: give config="):
        pykan.read(tmp_path / "model.pt")
    config = {"width": [2, [2, 2], [1, 1]], "mult_arity": [[], [2, 3], [2]], "base_fun_name": "silu"}
    near(pykan.read(tmp_path / "model.pt", config)[0].raw(CASES["products"]["x"]), CASES["products"]["y"])


def test_what_prune_input_leaves_out():
    """The columns are not in the file; the base function is an object there, read by its name."""
    _, report = pykan.read(DATA / "inputs")
    assert "pykan does not store which columns it kept; give columns" in str(report)
    model, report = pykan.read(DATA / "inputs", columns=[1, 3])
    assert model.width == 4 and "taken to have 4 columns" in str(report)
    x = CASES["inputs"]["x"]
    near(model.raw(x[:, [1, 0, 3, 2]]), CASES["inputs"]["y"])


# --------------------------------------------------------------------------------------- what a checkpoint says otherwise


def altered(tmp_path, name="sums", config=None, **arrays):
    """A checkpoint of data/interop with lines of its configuration, or arrays, replaced."""
    state = dict(torch_zip.read(DATA / f"{name}_state"))
    text = (DATA / f"{name}_config.yml").read_text()
    for old, new in (config or {}).items():
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "x_config.yml").write_text(text)
    for key, change in arrays.items():
        key = key.replace("__", ".")
        state[key] = change(np.array(state[key]))
    torch_zip.write(tmp_path / "x_state", {key: a for key, a in state.items() if a is not None})
    return tmp_path / "x"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"config": {"base_fun_name: silu": "base_fun_name: gelu"}}, "the base function 'gelu' is not known; give functions"),
        ({"config": {"base_fun_name: silu": "base_fun_name: !!python/name:os.system ''"}}, "base function 'system' is not known"),
        ({"act_fun__0__grid": lambda a: np.concatenate([a[:, :1], a[:, :1], a[:, 2:]], 1)}, "repeated knots"),
        ({"symbolic_fun__1__mask": np.ones_like, "config": {"funs_name.1:\n- - '0'": "funs_name.1:\n- - myfun"}}, "'myfun'"),
    ],
)
def test_what_would_change_the_function_is_refused(tmp_path, changes, match):
    path = altered(tmp_path, **changes)
    with pytest.raises(Unrepresentable, match=match) as caught:
        pykan.read(path)
    assert caught.value.report.differs and "strict=False" in str(caught.value)
    model, report = pykan.read(path, strict=False)
    assert report.differs and model.net.widths == (3, 4, 2)


def test_functions_of_ones_own(tmp_path):
    cube = Function.from_formula("cube", "x**3")
    gelu = Pointwise("gelu", bases.silu.functions)
    config = {"base_fun_name: silu": "base_fun_name: gelu", "funs_name.1:\n- - '0'": "funs_name.1:\n- - cube"}
    on = lambda a: np.eye(*a.shape)[:, :] * np.eye(1, a.shape[1])
    rows = lambda a: np.tile([1.0, 0, 2, 0], (*a.shape[:2], 1))
    path = altered(tmp_path, config=config, symbolic_fun__1__mask=on, symbolic_fun__1__affine=rows)
    model, report = pykan.read(path, functions={"cube": cube, "gelu": gelu})
    z = model.net.activations(model.theta, CASES["sums"]["x"])
    expected = CASES["sums"]["y"].copy()
    expected[:, 0] += 2 * z[1][:, 0] ** 3
    near(model.raw(CASES["sums"]["x"]), expected)
    with pytest.raises(Unrepresentable, match="base function 'gelu'; pykan stores .* by name.*no function 'cube'"):
        pykan.write(model, tmp_path / "y")


def test_symbolic_edges_in_part_and_switched_off(tmp_path):
    names = {"funs_name.1:\n- - '0'": "funs_name.1:\n- - sin"}
    half = lambda a: 0.5 * np.eye(*a.shape) * np.eye(1, a.shape[1])
    rows = lambda a: np.tile([1.0, 0.5, 2.0, 3.0], (*a.shape[:2], 1))
    arrays = {"symbolic_fun__1__mask": half, "symbolic_fun__1__affine": rows}
    model, report = pykan.read(altered(tmp_path, config=names, **arrays))
    z = model.net.activations(model.theta, CASES["sums"]["x"])[1][:, 0]
    extra = np.stack([0.5 * (2 * np.sin(z + 0.5) + 3), 0 * z], 1)
    near(model.raw(CASES["sums"]["x"]), CASES["sums"]["y"] + extra)
    assert "the symbolic mask 0.5 of the edge from 0 to 0 is in its c and d" in str(report)
    assert "affine parameters of 7 symbolic edges that are switched off" in str(report)
    off = names | {"symbolic_enabled: true": "symbolic_enabled: false"}
    model, report = pykan.read(altered(tmp_path, config=off, **arrays))
    near(model.raw(CASES["sums"]["x"]), CASES["sums"]["y"])
    assert "1 symbolic edges, as symbolic_enabled is false" in str(report)
    pykan.write(model, tmp_path / "y")
    assert pykan._config(tmp_path / "y_config.yml")["symbolic_enabled"] is False


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"config": {"width:\n- - 3\n  - 0": "width:"}}, "width must have 3 levels"),
        ({"config": {"width:\n- - 3\n  - 0": "width:\n- - 2\n  - 0"}}, r"width\[0\] is \[2, 0\], but the state dict has 3 nodes"),
        ({"config": {"- - 4\n  - 0": "- - 5\n  - 0"}}, r"width\[1\] is \[5, 0\], but the state dict has 4 nodes"),
        ({"config": {"- - 4\n  - 0": "- - -4\n  - 0"}}, r"width\[1\] must be a number or \[sums, products\]"),
        ({"config": {"- - 4\n  - 0": "- - 4\n  - 1"}}, r"width\[1\] is \[4, 1\], but the state dict has 4 nodes"),
        ({"config": {"- - 4\n  - 0": "- - 3\n  - 1"}}, r"subnode_scale of layer 0 has shape \(4,\), but .* need \(5,\)"),
        ({"config": {"- - 4\n  - 0": "- - 4\n  - 999999999999"}}, r"\[4, 999999999999\], but the state dict has 4 nodes"),
        ({"config": {"- - 4\n  - 0": "- - 4"}}, r"width\[1\] must be a number or \[sums, products\]"),
        ({"config": {"mult_arity: 2": "mult_arity: [[], [2], []]"}}, r"mult_arity\[1\] must be 0 numbers"),
        ({"act_fun__0__coef": lambda a: a[..., 0]}, "act_fun.0|axes"),
        ({"act_fun__0__coef": lambda a: a.astype("i8")}, "must have 3 axes of floats"),
        ({"act_fun__0__coef": lambda a: a[:, :, :2]}, "degree of layer 0|knots"),
        ({"act_fun__0__mask": lambda a: a.T}, "mask of layer 0 has shape"),
        ({"act_fun__0__scale_sp": lambda a: None}, "lacks act_fun.0.scale_sp"),
        ({"act_fun__0__scale_sp": lambda a: a * np.nan}, "must be finite"),
        ({"act_fun__0__grid": lambda a: a[:, ::-1]}, "must not decrease"),
        ({"act_fun__0__grid": lambda a: a[:2]}, "knots"),
        ({"act_fun__1__coef": lambda a: a[:3], "act_fun__1__grid": lambda a: a[:3]}, "layer 1"),
        ({"symbolic_fun__1__affine": lambda a: a[..., :3]}, "symbolic affine of layer 1"),
        ({"subnode_bias_0": lambda a: a[:1]}, "subnode_bias of layer 0"),
    ],
)
def test_files_that_contradict_themselves(tmp_path, changes, match):
    with pytest.raises(FileError, match=match):
        pykan.read(altered(tmp_path, **changes))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("!!python/object/apply:os.system [touch executed]", "holds no configuration, but Tagged"),
        ("width: !!python/object/apply:os.system [touch executed]", "width must have 3 levels"),
        ("width: !!python/object/new:os.system\n  args: [touch executed]", "width must have 3 levels"),
        ("a: &a [*a]", "the alias 'a' refers to nothing before it"),
        ("? a\n: b", "is not read|is no entry"),
        ("a: " + "[" * 5000, "is not closed|levels"),
        ("\n".join(" " * n + f"k{n}:" for n in range(100)), "more than 40 levels"),
        ("- " * 100 + "x", "more than 40 levels"),
        ("- 1", "holds no configuration, but list"),
        ("k: 3\nk: 4", "the key 'k' comes twice"),
        ("\xff", "holds no configuration"),
    ],
)
def test_hostile_configurations(tmp_path, monkeypatch, text, match):
    monkeypatch.chdir(tmp_path)
    shutil.copy(DATA / "sums_state", tmp_path / "x_state")
    (tmp_path / "x_config.yml").write_text(text, encoding="latin-1" if text == "\xff" else "utf-8")
    with pytest.raises(FileError, match=match if text != "\xff" else "cannot be read"):
        pykan.read(tmp_path / "x")
    assert not (tmp_path / "executed").exists()


def test_aliases_do_not_multiply(tmp_path):
    """Nine lists of nine lists of nine, in an entry that nobody needs; test_interop_hostile has those that go too far."""
    text = "\n".join(["a0: &a0 1", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 4))])
    path = altered(tmp_path)
    with open(tmp_path / "x_config.yml", "a") as file:
        file.write(text + "\n")
    near(pykan.read(path)[0].raw(CASES["sums"]["x"]), CASES["sums"]["y"])


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no pykan checkpoint .*nothing: neither .*nothing_state nor a file"):
        pykan.read(tmp_path / "nothing")
    torch_zip.write(tmp_path / "x", {"w": np.ones(2)})
    with pytest.raises(FileError, match="no pykan checkpoint: it has no act_fun.0.coef"):
        pykan.read(tmp_path / "x")
    torch_zip.write(tmp_path / "y_cache_data", np.ones(3))
    with pytest.raises(FileError, match="holds no matrix of samples"):
        pykan.samples(tmp_path / "y_cache_data")


# ------------------------------------------------------------------------------------------------------- kanref's models


def random(net, seed=0, **options):
    return Model(net, np.random.default_rng(seed).normal(0, 0.5, net.size), **options)


def pruned():
    net = kan([3, 4, 2], intervals=3)
    return Model(*masked(net, net.init(5), [[0, 1, 2], [0, 2, 3], [0, 1]])[:2])


def one_layer(terms, **options):
    return KAN((Layer(terms, **options),))


BASIS = BSpline.uniform(2, 4, 3)
HALF = np.array([[1, 0.0], [0.5, 1], [0, 0]])
MODELS = {
    "plain": lambda: random(kan([2, 3, 1])),
    "scaled": lambda: random(kan([2, 3, 1], scaled=True)),
    "bias": lambda: random(kan([2, 3, 1], bias=True)),
    "products and affine": lambda: random(kan([2, [1, [2, 3]], [1, 1]], bias=True, affine=("node_scale", "subnode_scale"))),
    "identity": lambda: random(kan([2, 3, 1], base="identity")),
    "no base": lambda: random(kan([2, 3, 1], base=None)),
    "sine as base": lambda: random(kan([2, 3, 1], base="sin")),
    "a matrix first": lambda: random(kan([2, 3, 1], first="linear", intervals=4, degree=2)),
    "inputs mapped": lambda: random(kan([2, 3, 1], inputs=MinMax([-1, 0], [3, 0.5]), normalise="tanh")),
    "inputs by a sigmoid": lambda: random(kan([2, 3, 1], inputs="sigmoid", domain=(0, 1))),
    "error outside": lambda: random(kan([2, 1], outside="error", domain=(-9, 9))),
    "pruned": pruned,
    "slim": lambda: Model(*slim(kan([4, 5, 4]), 2)),
    "adapted": lambda: Model(*lotra.adapt(*(lambda net: (net, net.init(0)))(kan([3, 4, 2])), 2)),
    "sorted": lambda: random(
        KAN((spline_layer(2, 4, BASIS, nodes=Nodes((2, 1, 1))), spline_layer(3, 1, BSpline.uniform(3, 4, 3))))
    ),
    "free knots": lambda: random(one_layer({"spline": FreeKnots(Full((3, 2, 7)), 3, -1, 1)})),
    "formulas only": lambda: random(
        one_layer({"symbolic": Symbolic((2, 2), ((0, 0, LIBRARY["sin"]), (1, 1, LIBRARY["sigmoid"])))})
    ),
    "different masks": lambda: random(
        one_layer(
            {
                "base": Linear(bases.silu, Masked(Full((3, 2, 1)), HALF)),
                "spline": Linear(BASIS, Masked(Full((3, 2, 7)), HALF[::-1])),
            }
        )
    ),
    "columns": lambda: random(kan([2, 3, 1]), width=4, columns=(3, 1)),
    "single": lambda: (lambda m: replace(m, theta=m.theta.astype("f4")))(random(kan([2, 3, 1]))),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_kanref_come_back_as_the_same_function(name, tmp_path):
    model = MODELS[name]()
    report = pykan.write(model, tmp_path / "x")
    again, _ = pykan.read(tmp_path / "x")
    x = np.random.default_rng(1).normal(0, 0.8, (50, model.width))
    near(again.raw(x), model.raw(x), 1e-6 if name == "single" else 1e-14)
    assert not report.differs and not again.report and (again.columns, again.width) == (model.columns, model.width)
    second = tmp_path / "second"
    second.mkdir()
    pykan.write(again, second / "x")
    for kind in ("state", "config.yml", "cache_data"):  # from then on, not a bit changes
        assert (second / f"x_{kind}").read_bytes() == (tmp_path / f"x_{kind}").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["second", "x_cache_data", "x_config.yml", "x_state"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_models_of_kanref_load_in_pykan_and_predict_the_same(name, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("kan")
    if not hasattr(peer, "MultKAN"):
        pytest.skip("this pykan is older than 0.2")
    monkeypatch.chdir(tmp_path)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = MODELS[name]()
        x = np.random.default_rng(3).normal(0, 0.8, (25, model.width))
        pykan.write(model, tmp_path / "x", samples=x)
        y = peer.KAN.loadckpt(str(tmp_path / "x"))(torch.tensor(x)).detach().numpy()
    finally:
        torch.set_default_dtype(before)
    near(y, model.raw(x), 1e-6 if name == "single" else 1e-12)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (lambda: random(kan([2, 3, 1], outside="linear")), 'outside="linear"; the splines of others fade to zero'),
        (lambda: random(kan([2, 1], degree=0)), "layer 0: degree 0, for which pykan's constructor fails"),
        (lambda: random(one_layer({"spline": Linear(Chebyshev(4), Full((1, 2, 5)))})), "is neither spline, base function nor"),
        (lambda: random(one_layer({"s": Linear(BSpline([[0, 0, 0, 1, 2, 2.0]], 1), Full((1, 1, 4)))})), "repeated knots"),
        (lambda: random(one_layer({"symbolic": Symbolic((1, 1), ((0, 0, LIBRARY["sinh"]),))})), "no function 'sinh'"),
        (
            lambda: random(KAN((spline_layer(2, 3, BASIS, nodes=Nodes((2, 1))),))),
            r"outputs come in the order \[1, 0\]: pykan has sums before products",
        ),
        (
            lambda: random(one_layer({"b": Linear(bases.silu, Full((1, 1, 1))), "c": Linear(bases.sigmoid, Full((1, 1, 1)))})),
            None,
        ),
        (
            lambda: random(
                one_layer(
                    {
                        "b": Linear(bases.silu, Full((1, 1, 1))),
                        "c": Linear(bases.tanh, Full((1, 1, 1))),
                        "s": Symbolic((1, 1), ((0, 0, LIBRARY["sin"]),)),
                    }
                )
            ),
            "the edge from 0 to 0 has a formula and a second base function",
        ),
        (
            lambda: random(
                one_layer({name: Symbolic((1, 1), ((0, 0, LIBRARY["sin"]),)) for name in ("s", "t")}),
            ),
            "a second formula on the edge from 0 to 0",
        ),
        (
            lambda: random(
                one_layer({"b": Linear(bases.silu, Full((1, 1, 1)))}, normalise=Pointwise("mine", (np.arctan, np.cos)))
            ),
            "no function for its input map mine",
        ),
    ],
)
def test_what_pykan_has_no_place_for_is_refused_before_anything_is_written(model, match, tmp_path):
    model = model()
    if match is None:
        pykan.write(model, tmp_path / "x")
        near(pykan.read(tmp_path / "x")[0].raw(np.eye(3)[:, :1]), model.raw(np.eye(3)[:, :1]))
        return
    with pytest.raises(Unrepresentable, match=match):
        pykan.write(model, tmp_path / "x")
    assert not list(tmp_path.iterdir())
    if match.startswith("layer 0: degree 0"):
        with pytest.raises(Unrepresentable, match="kanref to pykan is impossible: layer 0: degree 0"):
            pykan.write(model, tmp_path / "x", strict=False)
        return
    assert pykan.write(model, tmp_path / "x", strict=False).differs
    assert pykan.read(tmp_path / "x", strict=False)[0].net.outputs == model.net.outputs


def test_what_has_no_place_is_said(tmp_path):
    model = random(kan([2, 3], bias=True), task="classification", names=("a", "b"), extra={"schema": 1, "pykan": {}})
    text = str(pykan.write(model, tmp_path / "x"))
    assert "the task 'classification': outputs are the raw scores" in text
    assert "schema in Model.extra" in text and "names of columns" in text and "its bias is in subnode_bias" in text
    rounded = random(kan([2, 1], intervals=3))
    report = pykan.write(replace(rounded, theta=rounded.theta.astype("f4")), tmp_path / "y")
    assert "knots are rounded to float32" in str(report)
    with pytest.raises(FileNotFoundError, match="the folder .*nowhere does not exist"):
        pykan.write(model, tmp_path / "nowhere" / "x")
    with pytest.raises(ValueError, match=r"samples must have shape \(samples, 2\)"):
        pykan.write(model, tmp_path / "z", samples=np.ones((3, 3)))
    assert not list(tmp_path.glob("z*"))


def test_reports_are_tables():
    report = Report("a to b", kept=["all"], differs=["one", "two", "one"])
    assert str(report) == "a to b\n  the function differs  one\n  the function differs  two\n  kept                  all"
    assert report.settled(False) is report
    with pytest.raises(Unrepresentable, match="a to b would change the function: one; two; one. Give strict=False .--lossy."):
        report.settled(True)
