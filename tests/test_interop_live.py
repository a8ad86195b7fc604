"""Files that go to the other libraries and come from them, where these are installed; skipped where they are not.

    PYTHONPATH=. <python with the peers> -m pytest tests/test_interop_live.py tests/test_interop_pykan.py

An interpreter with pykan 0.0 in the place of 0.2.8 (pip install --no-deps pykan==0.0.5) runs the test of its state dicts instead.

`pykan_models` builds the models whose checkpoints are in data/interop: `write_fixtures` made those, with pykan 0.2.8 and
torch 2.13 in float64.
"""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases
from kanref.interop import cheby_kan, efficient_kan, fast_kan, jaxkan, msgpack_subset, pykan, tensors, torch_zip
from kanref.interop.report import Unrepresentable
from kanref.io import FileError
from kanref.model import Model
from kanref.network import kan

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def kan2(torch):
    """pykan 0.2."""
    peer = pytest.importorskip("kan")
    if not hasattr(peer, "MultKAN"):
        pytest.skip("this pykan is older than 0.2")
    return peer


@pytest.fixture
def kan0(torch):
    """pykan 0.0."""
    peer = pytest.importorskip("kan")
    if hasattr(peer, "MultKAN"):
        pytest.skip("this pykan is newer than 0.0")
    return peer


def pykan_models(torch):
    """{name: (model, columns that prune_input kept or None)}: real models of pykan with random numbers everywhere."""
    from kan import KAN

    def build(seed, width, **options):
        options = {"grid": 4, "k": 3, "noise_scale": 1.0, "seed": seed, "auto_save": False} | options
        model = KAN(width=copy.deepcopy(width), **options)
        for layer in model.act_fun:
            layer.coef.data.normal_()
        model(torch.randn(30, width[0]) * 0.6)
        return model

    def shake(model, seed, names):
        rng = np.random.default_rng(seed)
        for name, array in model.state_dict().items():
            if name.rpartition(".")[2].rpartition("_")[0] in names or any(name.startswith(n) for n in names):
                array.copy_(torch.tensor(rng.normal(size=array.shape)))

    sums = build(0, [3, 4, 2])
    sums.update_grid_from_samples(torch.randn(40, 3))
    products = build(1, [2, [2, 2], [1, 1]], mult_arity=[[], [2, 3], [2]], k=2)
    cubes = build(2, [2, [1, 2], 1], mult_arity=3, grid=[3, 5], k=[3, 4], base_fun="identity")
    symbolic = build(3, [3, 3, 1])
    for i, j, name in [(0, 0, "sin"), (1, 0, "x^2"), (2, 1, "gaussian"), (0, 1, "tanh"), (1, 2, "0"), (2, 2, "abs")]:
        symbolic.fix_symbolic(0, i, j, name, fit_params_bool=False, log_history=False)
    symbolic.set_mode(0, 0, 1, "ns")
    symbolic.fix_symbolic(1, 1, 0, "exp", fit_params_bool=False, log_history=False)
    symbolic.symbolic_fun[0].affine.data += 0.3 * torch.randn(3, 3, 4)
    Path("model").mkdir(exist_ok=True)  # pruning logs its history there
    pruned = build(4, [4, 5, 2])
    pruned.attribute()
    pruned = pruned.prune(node_th=pruned.node_scores[1].detach().sort()[0][1].item(), edge_th=0.2)
    inputs = build(5, [4, 3, 1])
    inputs = inputs.prune_input(active_inputs=[0, 2], log_history=False)
    affine = build(6, [2, [2, 1], 2], affine_trainable=True, sp_trainable=False, grid_eps=0.5)
    shake(affine, 7, ["node_", "subnode_"])
    numpy = build(8, [2, np.int64(3), [np.int64(1), 0]], base_fun="zero", symbolic_enabled=False)
    numpy.width[1][0] = np.int64(3)
    torch.set_default_dtype(torch.float32)
    single = build(9, [2, 2, 1])
    torch.set_default_dtype(torch.float64)
    named = locals()
    names = ("sums", "products", "cubes", "symbolic", "pruned", "affine", "numpy", "single")
    return {name: (named[name], None) for name in names} | {"inputs": (inputs, [0, 2])}


def worked_models(torch, dtype):
    """(name, model) of pykan after what its users do: grids updated and refined, trained, pruned, made symbolic."""
    from kan import KAN

    torch.set_default_dtype(dtype)
    Path("model").mkdir(exist_ok=True)
    x = torch.randn(120, 3) * 0.7
    y = torch.stack([torch.sin(x.sum(1)), x[:, 0] * x[:, 1]], 1)
    data = {"train_input": x, "test_input": x[:40], "train_label": y, "test_label": y[:40]}

    def build(seed, width, **options):
        model = KAN(width=width, **({"grid": 4, "k": 3, "noise_scale": 1.0, "seed": seed, "auto_save": False} | options))
        model(x)
        return model

    def done(model, name, *arguments, **options):
        getattr(model, name)(*arguments, **options)
        return model

    yield "three layers", build(0, [3, 4, 3, 2])
    yield "updated", done(build(1, [3, 4, 3, 2]), "update_grid_from_samples", x)
    yield "refined", build(2, [3, 3, 1]).refine(9)
    yield "products refined", build(3, [3, [2, 2], [1, 1], 1], mult_arity=3).refine(7)
    mixed = build(4, [3, [1, 2], [0, 2]], mult_arity=[[], [2, 4], [3, 2]])
    yield "mixed arity updated", done(mixed, "update_grid_from_samples", x)
    yield "sparse", build(5, [3, 5, 1], sparse_init=True)
    yield "affine trained", done(build(6, [3, 3, 2], affine_trainable=True), "fit", data, opt="Adam", steps=8, lr=0.05, lamb=1e-3)
    yield "trained, pruned", done(build(7, [3, [3, 1], 2]), "fit", data, steps=3, lamb=1e-2).prune(node_th=1e-3, edge_th=2e-2)
    yield "of identities", build(8, [3, 2, 1], base_fun="identity", grid_range=[-2, 3], grid_eps=1.0, sp_trainable=False)
    yield "one interval", build(9, [3, 2, 1], k=1, grid=1)
    yield "layers of their own", build(10, [3, 2, 1], k=[2, 5], grid=[3, 6])
    yield "swapped", done(build(11, [3, [2, 1], 1]), "swap", 1, 0, 1)
    yield "hyperbolic", build(12, [3, 2, 1], base_fun=torch.nn.Tanh())


def other_models(torch):
    """{file: model} of efficient-kan and fast-kan, with random numbers everywhere."""
    import efficient_kan
    import fastkan

    torch.manual_seed(0)
    efficient = efficient_kan.KAN([3, 4, 2], grid_size=4)
    efficient.layers[0].update_grid(torch.randn(60, 3))
    plain = efficient_kan.KANLinear(2, 3, spline_order=2, enable_standalone_scale_spline=False, base_activation=torch.nn.Tanh)
    fast = fastkan.FastKAN([3, 4, 2], num_grids=5)
    layers = [fastkan.FastKANLayer(1, 3, use_layernorm=False), fastkan.FastKANLayer(3, 2, -1.0, 1.5, use_layernorm=False)]
    radial = fastkan.FastKAN([2, 2])
    radial.layers = torch.nn.ModuleList(layers)
    named = {"efficient.pt": efficient, "efficient_layer.pt": plain, "fast.pt": fast, "radial.pt": radial}
    for model in named.values():
        for name, array in model.named_parameters():
            if "grid" not in name:
                array.data.normal_()
    return named


def jax_models(jax):
    """{file: (tree of parameters and grids, model)} of jaxKAN, in float32 as it is."""
    from flax import nnx
    from jaxkan.models.KAN import KAN

    found = {}
    kinds = {"spline": {}, "base": {"add_bias": False}, "bare": {"external_weights": False, "residual": None}}
    for kind, options in kinds.items():
        layer_type = "base" if kind == "base" else "spline"
        model = KAN([2, 3, 1], layer_type, {"k": 3, "G": 4, **options}, seed=1)
        model.update_grids(jax.random.normal(jax.random.key(0), (50, 2)), 5)
        tree = nnx.to_pure_dict(nnx.state(model, nnx.Param))
        if "bias" in tree["layers"][0]:
            tree["layers"][0]["bias"] = jax.numpy.arange(3.0)
            nnx.update(model, nnx.State(tree))
        tree["grids"] = {l: layer.grid.item for l, layer in enumerate(model.layers)}
        found[f"jaxkan_{kind}.msgpack"] = tree, model
    return found


def write_fixtures(torch, jax, folder):
    """What is in data/interop: three files for every model of pykan, and one for every other; inputs and outputs in JSON."""
    from flax import serialization

    cases, others = {}, {}
    for name, (model, columns) in pykan_models(torch).items():
        rng = np.random.default_rng(len(name))
        width = 4 if columns else model.width_in[0]
        x = rng.normal(0, 0.8, (12, width)).astype("f4" if name == "single" else "f8")
        y = model(torch.tensor(x))
        model.cache_data = model.cache_data[:5]
        model.saveckpt(str(Path(folder) / name))
        cases[name] = {"x": x.tolist(), "y": y.detach().numpy().tolist(), "columns": columns}
    rng = np.random.default_rng(0)
    for name, model in other_models(torch).items():
        x = rng.normal(0, 0.8, (12, {"efficient_layer.pt": 2, "radial.pt": 1}.get(name, 3)))
        others[name] = {"x": x.tolist(), "y": model(torch.tensor(x)).detach().numpy().tolist()}
        torch.save(model.state_dict(), Path(folder) / name)
    for name, (tree, model) in jax_models(jax).items():
        x = rng.normal(0, 0.8, (12, 2)).astype("f4")
        others[name] = {"x": x.tolist(), "y": np.asarray(model(x)).tolist()}
        Path(folder, name).write_bytes(serialization.msgpack_serialize(jax.tree_util.tree_map(np.asarray, tree)))
    Path(folder, "pykan.json").write_text(json.dumps(cases))
    Path(folder, "others.json").write_text(json.dumps(others))


# ------------------------------------------------------------------------------------------------------------- pykan


def test_fresh_pykan_models_are_read(torch, kan2, tmp_path):
    for name, (model, columns) in pykan_models(torch).items():
        x = np.random.default_rng(3).normal(0, 0.8, (25, 4 if columns else model.width_in[0]))
        x = x.astype("f4" if name == "single" else "f8")
        y = model(torch.tensor(x)).detach().numpy()
        model.saveckpt(str(tmp_path / name))
        ours, report = pykan.read(tmp_path / name, columns=columns, width=x.shape[1] if columns else None)
        assert_allclose(ours.raw(x), y, rtol=0, atol=1e-6 if name == "single" else 1e-12, err_msg=name)
        assert_array_equal(pykan.samples(tmp_path / name), model.cache_data.numpy())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_models_that_were_worked_with_come_and_go(torch, kan2, tmp_path, dtype):
    """They are read without a difference, and what kanref writes of them is, loaded in pykan, the same state bit for bit."""
    tolerance = {"float64": 1e-12, "float32": 2e-6}[dtype]
    x = np.random.default_rng(1).normal(0, 0.8, (40, 3)).astype(dtype)
    for name, model in worked_models(torch, getattr(torch, dtype)):
        y = model(torch.tensor(x)).detach().numpy()
        model.saveckpt(str(tmp_path / "theirs"))
        ours, _ = pykan.read(tmp_path / "theirs")
        scale = max(1, np.abs(y).max())
        assert_allclose(ours.raw(x), y, rtol=0, atol=tolerance * scale, err_msg=name)
        assert ours.theta.dtype == dtype
        pykan.write(ours, tmp_path / "ours")
        again, found = loaded(torch, tmp_path / "ours", x)
        assert_allclose(found, y, rtol=0, atol=tolerance * scale, err_msg=name)
        if name == "hyperbolic":  # its base branches are formulas now
            continue
        state, written = model.state_dict(), again.state_dict()
        assert list(state) == list(written)
        for key, a in state.items():
            assert_array_equal(written[key].numpy(), a.numpy().astype(dtype), err_msg=f"{name} {key}", strict=True)


def loaded(torch, path, x):
    """What pykan predicts with a checkpoint."""
    from kan import KAN

    model = KAN.loadckpt(str(path))
    return model, model(torch.tensor(x)).detach().numpy()


def test_written_checkpoints_load_in_pykan_and_predict_the_same(torch, kan2, tmp_path):
    for name, (model, columns) in pykan_models(torch).items():
        model.saveckpt(str(tmp_path / name))
        width = 4 if columns else model.width_in[0]
        x = np.random.default_rng(3).normal(0, 0.8, (25, width))
        ours, _ = pykan.read(tmp_path / name, columns=columns, width=width if columns else None)
        pykan.write(ours, tmp_path / "ours", samples=x)
        _, y = loaded(torch, tmp_path / "ours", x)
        assert_allclose(y, ours.raw(x), rtol=0, atol=1e-6 if name == "single" else 1e-12, err_msg=name)
        assert_array_equal(torch.load(tmp_path / "ours_cache_data").numpy(), x.astype(ours.theta.dtype))


def test_all_functions_of_pykan_are_the_same(torch, kan2, tmp_path):
    """At 200 points on both sides of 0; where pykan gives NaN or infinity, kanref gives NaN."""
    lib = pytest.importorskip("kan.utils").SYMBOLIC_LIB
    assert set(pykan.FUNCTIONS) == set(lib)
    model = kan2.KAN([1, len(lib)], auto_save=False)
    for j, name in enumerate(lib):
        model.fix_symbolic(0, 0, j, name, fit_params_bool=False, log_history=False)
    model.symbolic_fun[0].affine.data[:] = torch.tensor([0.9, 0.1, 1.7, -0.3])
    model.saveckpt(str(tmp_path / "x"))
    x = np.linspace(-2.1, 2.3, 200)[:, None]
    ours, theirs = pykan.read(tmp_path / "x")[0].raw(x), model(torch.tensor(x)).detach().numpy()
    assert_array_equal(np.isfinite(ours), np.isfinite(theirs))
    assert_allclose(ours, np.where(np.isfinite(theirs), theirs, np.nan), rtol=1e-12)
    assert 0 < np.isnan(ours).sum() < ours.size / 2


def test_a_written_checkpoint_can_be_worked_with_in_pykan(torch, kan2, tmp_path):
    """Refined, pruned and trained there, and read again."""
    net = kan([2, 3, 1])
    ours = Model(net, np.random.default_rng(0).normal(0, 0.5, net.size))
    x = np.random.default_rng(1).uniform(-1, 1, (200, 2))
    pykan.write(ours, tmp_path / "ours", samples=x)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "history.txt").write_text("")
    theirs, _ = loaded(torch, tmp_path / "ours", x)
    finer = theirs.refine(8)
    data = {name: torch.tensor(x) for name in ("train_input", "test_input")}
    data |= {name: torch.tensor(ours.raw(x)) for name in ("train_label", "test_label")}
    finer.fit(data, opt="LBFGS", steps=2, update_grid=False)
    finer.fix_symbolic(1, 0, 0, "sin", verbose=False)
    finer.saveckpt(str(tmp_path / "finer"))
    back, _ = pykan.read(tmp_path / "finer")
    assert back.net.layers[0].terms["spline"].basis.intervals == 8
    assert_allclose(back.raw(x), finer(torch.tensor(x)).detach().numpy(), rtol=0, atol=1e-12)


def test_repeated_knots_are_where_pykan_is_wrong(torch, kan2, tmp_path):
    """Row B1 of the ledger: the reader refuses; told to read, it has the splines themselves, of which pykan loses a part."""
    model = kan2.KAN([1, 1], grid=4, k=3, auto_save=False)
    layer, knots = model.act_fun[0], [-1.0, -0.8, -0.6, -0.4, 0, 0, 0.5, 1, 1.2, 1.4, 1.6]
    layer.grid.data[:] = torch.tensor(knots)
    layer.coef.data[:], layer.scale_sp.data[:], layer.scale_base.data[:] = 1.0, 1.0, 0.0
    model.saveckpt(str(tmp_path / "x"))
    with pytest.raises(Unrepresentable, match="layer 0: repeated knots, where pykan evaluates wrongly"):
        pykan.read(tmp_path / "x")
    ours, report = pykan.read(tmp_path / "x", strict=False)
    x = np.array([[-0.3], [0.25], [0.75]])
    assert_allclose(ours.raw(x), 1, rtol=1e-14)  # B-splines sum to one
    assert (model(torch.tensor(x)).detach().numpy() < 0.95).any() and len(report.differs) == 1
    with pytest.raises(Unrepresentable, match="layer 0: repeated knots .in float64., which pykan evaluates wrongly"):
        pykan.write(ours, tmp_path / "y")


def old_models(torch, peer):
    """(name, model) of pykan 0.0, which is built in float32 only."""
    x = torch.randn(100, 3) * 0.7

    def build(seed, width, **options):
        torch.set_default_dtype(torch.float32)
        model = peer.KAN(width=width, **({"grid": 4, "k": 3, "seed": seed, "noise_scale": 1.0} | options)).double()
        torch.set_default_dtype(torch.float64)
        for bias in model.biases:
            bias.weight.data.normal_()
        model(x)
        return model

    yield "sums", build(0, [3, 4, 2])
    yield "three layers", build(1, [3, 4, 3, 2], k=2)
    updated = build(2, [3, 4, 2])
    updated.update_grid_from_samples(x)
    yield "updated", updated
    symbolic = build(3, [3, 4, 2])
    for l, i, j, name in [(0, 0, 0, "sin"), (0, 1, 2, "sigmoid"), (0, 2, 3, "cosh"), (1, 0, 1, "gaussian"), (1, 3, 0, "x^2")]:
        symbolic.fix_symbolic(l, i, j, name, fit_params_bool=False)
    symbolic.symbolic_fun[0].affine.data += 0.3 * torch.randn(4, 3, 4)
    symbolic.set_mode(0, 1, 2, "ns")
    yield "symbolic", symbolic
    y = torch.stack([torch.sin(x.sum(1)), x[:, 0] * x[:, 1]], 1)
    trained = build(4, [3, 3, 2])
    trained.train({"train_input": x, "test_input": x, "train_label": y, "test_label": y}, opt="LBFGS", steps=3, lamb=1e-2)
    yield "trained", trained
    refined = build(5, [3, 3, 2], grid=8)
    refined.initialize_from_another_model(build(6, [3, 3, 2]), x)
    yield "refined", refined
    removed = build(7, [3, 3, 1])
    removed.remove_edge(0, 1, 1)
    removed.remove_node(1, 2)
    yield "removed", removed


def test_state_dicts_of_pykan_0_0(torch, kan0, tmp_path):
    x = np.random.default_rng(1).normal(0, 0.8, (40, 3))
    for name, model in old_models(torch, kan0):
        y = model(torch.tensor(x)).detach().numpy()
        torch.save(model.state_dict(), tmp_path / "x")
        names = {f"symbolic.funs_name.{l}": [list(row) for row in layer.funs_name] for l, layer in enumerate(model.symbolic_fun)}
        ours, report = pykan.read(tmp_path / "x", config=names)
        assert_allclose(ours.raw(x), y, rtol=0, atol=1e-12 * max(1, np.abs(y).max()), err_msg=name)
        assert "does not store locks" in str(report)
        assert all(len([t for t in layer.terms if t.startswith("spline")]) == 1 for layer in ours.net.layers)


def test_torch_reads_what_torch_zip_writes(torch, tmp_path):
    state = {"a": np.arange(6.0).reshape(2, 3), "b": np.float32(1) * np.ones((4, 0)), "c": np.arange(3), "d": np.array(2.5)}
    torch_zip.write(tmp_path / "x", state)
    for options in ({"weights_only": True}, {"weights_only": False}, {"mmap": True}):
        found = torch.load(tmp_path / "x", **options)
        assert list(found) == list(state)
        for name, a in state.items():
            assert_array_equal(found[name].numpy(), a, strict=True)


def test_torch_zip_reads_what_torch_writes(torch, tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    kinds = "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"
    state = {kind: base.to(getattr(torch, kind)) for kind in kinds}
    state |= {"view": base[1:3, ::2], "transposed": base.T, "scalar": torch.tensor(3.0), "parameter": torch.nn.Parameter(base)}
    state |= {"again": base, "empty": torch.zeros(0, 3)}
    torch.save(state, tmp_path / "x")
    found = torch_zip.read(tmp_path / "x")
    assert list(found) == list(state)
    for name, a in state.items():
        expected = a.detach().float() if a.dtype in (torch.float16, torch.bfloat16) else a.detach()
        assert_array_equal(found[name], expected.numpy(), strict=True)
    torch.save(torch.nn.Linear(2, 3), tmp_path / "y")
    with pytest.raises(FileError, match="nothing was executed. Whole models"):
        torch_zip.read(tmp_path / "y")
    torch.save(state, tmp_path / "z", _use_new_zipfile_serialization=False)
    with pytest.raises(FileError, match="torch's format before 1.6"):
        torch_zip.read(tmp_path / "z")


# ------------------------------------------------------------------------------------------------------ the other libraries


def test_fresh_models_of_efficient_kan_and_fast_kan(torch, tmp_path):
    """Read, written, and loaded again with load_state_dict: the same predictions."""
    pytest.importorskip("efficient_kan")
    save_file = pytest.importorskip("safetensors.torch").save_file
    for name, model in other_models(torch).items():
        library, options = (fast_kan if name in ("fast.pt", "radial.pt") else efficient_kan), {}
        if name == "efficient_layer.pt":
            options = {"base": bases.tanh}
        torch.save(model.state_dict(), tmp_path / name)
        save_file(model.state_dict(), tmp_path / "x.safetensors")
        ours, _ = library.read(tmp_path / name, **options)
        x = np.random.default_rng(3).normal(0, 0.8, (25, ours.width))
        y = model(torch.tensor(x)).detach().numpy()
        assert_allclose(ours.raw(x), y, rtol=0, atol=1e-12, err_msg=name)
        assert_array_equal(library.read(tmp_path / "x.safetensors", **options)[0].theta, ours.theta, strict=True)
        library.write(ours, tmp_path / "x.pt")
        state = torch.load(tmp_path / "x.pt")
        if name == "efficient_layer.pt":
            state = {key.removeprefix("layers.0."): a for key, a in state.items()}
        for array in model.parameters():
            array.data.zero_()
        model.load_state_dict(state)
        assert_allclose(model(torch.tensor(x)).detach().numpy(), ours.raw(x), rtol=0, atol=1e-12, err_msg=name)


def test_chebyshev_layers_in_torch(torch, tmp_path):
    """The formula of ChebyKAN's README, cos(d arccos tanh x), with its names; the library itself cannot be installed."""

    class Layer(torch.nn.Module):
        def __init__(self, inputs, outputs, degree):
            super().__init__()
            self.cheby_coeffs = torch.nn.Parameter(torch.randn(inputs, outputs, degree + 1))
            self.register_buffer("arange", torch.arange(degree + 1))

        def forward(self, x):
            return torch.einsum("nid,iod->no", torch.cos(self.arange * torch.tanh(x).acos()[..., None]), self.cheby_coeffs)

    model, x = torch.nn.Sequential(Layer(3, 4, 5), Layer(4, 2, 3)), np.random.default_rng(3).normal(0, 0.8, (25, 3))
    torch.save(model.state_dict(), tmp_path / "x.pt")
    ours, _ = cheby_kan.read(tmp_path / "x.pt")
    y = model(torch.tensor(x)).detach().numpy()
    assert_allclose(ours.raw(x), y, rtol=0, atol=1e-12)
    cheby_kan.write(ours, tmp_path / "y.pt")
    for array in model.parameters():
        array.data.zero_()
    model.load_state_dict(torch.load(tmp_path / "y.pt"), strict=False)  # without the buffers
    assert_array_equal(model(torch.tensor(x)).detach().numpy(), y)


@pytest.mark.parametrize("scaled", [False, True])
def test_models_of_kanref_load_in_efficient_kan(torch, tmp_path, scaled):
    efficient = pytest.importorskip("efficient_kan")
    net = kan([2, 3, 1], intervals=4, degree=2, scaled=scaled, affine=("node_scale",))
    ours = Model(net, np.random.default_rng(0).normal(size=net.size))
    efficient_kan.write(ours, tmp_path / "x.pt")
    theirs = efficient.KAN([2, 3, 1], grid_size=4, spline_order=2)
    theirs.load_state_dict(torch.load(tmp_path / "x.pt"))
    x = np.random.default_rng(1).normal(0, 0.8, (25, 2))
    assert_allclose(theirs(torch.tensor(x)).detach().numpy(), ours.raw(x), rtol=0, atol=1e-12)


@pytest.fixture
def jax(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    return pytest.importorskip("jax")


def test_fresh_models_of_jaxkan_are_read(jax, tmp_path):
    pytest.importorskip("jaxkan")
    from flax import serialization

    for name, (tree, model) in jax_models(jax).items():
        data = serialization.msgpack_serialize(jax.tree_util.tree_map(np.asarray, tree))
        (tmp_path / name).write_bytes(data)
        assert msgpack_subset.dumps(msgpack_subset.loads(data)) == data
        ours, _ = jaxkan.read(tmp_path / name)
        x = np.random.default_rng(3).normal(0, 0.8, (25, 2)).astype("f4")
        assert_allclose(ours.raw(x), np.asarray(model(x)), rtol=0, atol=1e-5, err_msg=name)
        np.savez(tmp_path / "x.npz", **tensors.read_arrays(tmp_path / name))
        assert_array_equal(jaxkan.read(tmp_path / "x.npz")[0].theta, ours.theta, strict=True)


@pytest.mark.parametrize("options", [{}, {"bias": True, "scaled": True}, {"base": None}])
def test_models_of_kanref_load_in_jaxkan(jax, tmp_path, options):
    """In float64, which jax must be told to have."""
    pytest.importorskip("jaxkan")
    from flax import nnx, serialization
    from jaxkan.models.KAN import KAN

    net = kan([2, 3, 1], intervals=4, **options)
    ours = Model(net, np.random.default_rng(0).normal(size=net.size))
    report = jaxkan.write(ours, tmp_path / "x.msgpack")
    assert "KAN([2, 3, 1], 'spline', dict(k=3, G=4, " in str(report)
    flags = {"external_weights": "scaled" in options, "add_bias": "bias" in options}
    flags |= {"residual": None} if "base" in options else {}
    with jax.enable_x64(True):
        theirs = KAN([2, 3, 1], "spline", {"k": 3, "G": 4, **flags})
        tree = serialization.msgpack_restore((tmp_path / "x.msgpack").read_bytes())
        for l, grid in tree.pop("grids").items():
            theirs.layers[l].grid.item = jax.numpy.asarray(grid)
        nnx.update(theirs, nnx.State(jax.tree_util.tree_map(jax.numpy.asarray, tree)))
        x = np.random.default_rng(1).normal(0, 0.8, (25, 2))
        found = np.asarray(theirs(jax.numpy.asarray(x)))
    assert_allclose(found, ours.raw(x), rtol=0, atol=1e-12)
