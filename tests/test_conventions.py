"""Conventions: each switch gives the numbers of the library that it is named after, and strict stays what it was.

data/conventions.json holds what the libraries themselves returned for the questions of `ASKED`, in float64: pykan 0.2.8 and
0.0.5, efficient-kan (kan.py of 7b6ce1c), jaxKAN 0.3.7, torch 2.13. `record` wrote it. Where a library is installed, the test
`test_the_libraries_still_say_so` asks it again; of pykan there can be one version at a time.
"""

import inspect
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import grids, io, sparsify, symbolic
from kanref.bases import BSpline
from kanref.check import check_objective
from kanref.conventions import CONVENTIONS, GUARDS, PYKAN, PYKAN_0_0, guarded, half_open
from kanref.functions import LIBRARY
from kanref.interop.convert import convert
from kanref.model import Model
from kanref.network import KAN, Layer, kan
from kanref.symbolic.affine_fit import fit_affine, r_squared, scan
from kanref.terms import Linear
from kanref.weights import Scaled, Tucker

FILE = Path(__file__).parent / "data" / "conventions.json"
CLAMPED, AT = np.array([0, 0, 0, 0, 0.5, 1, 1, 1, 1]), np.array([0, 0.25, 0.5, 0.75, 1])
DOUBLE = np.array([-1, -0.5, 0, 0.25, 0.25, 1, 1.5, 2])
UNIFORM = np.linspace(-2, 2, 10)  # 3 intervals of degree 3 on [-2/3, 2/3]
ARGUMENTS = np.array([-2, -0.7, -0.3, -0.009, 0.003, 0.0099, 0.0101, 0.2, 0.6, 2.2, 2.4, 9])
EDGE = np.linspace(-1, 1, 41)  # samples of one edge
COEFFICIENTS = np.array([0.9, -0.3, 0.2, 0.4, 1.1, 1.9])
AMPLITUDES = 1, 1e-2, 1e-3, 1e-4
CROWDED = np.stack([(np.arange(97) / 96) ** 2, np.sin(np.arange(97))], 1)
SPARSE = np.sin(np.arange(60))[:, None] ** 5  # crowded at 0


def wave(*shape, start=0):
    """Numbers without a pattern that axes could be exchanged by."""
    return np.sin(start + 1.7 * np.arange(np.prod(shape)) ** 1.3).reshape(shape)


def two_layers(functions, hidden=2):
    """Base weights (Q, P), coefficients (Q, P, K) and scales (Q, P) of a network [2, hidden, 1]."""
    shapes = (hidden, 2), (1, hidden)
    return [(wave(*s, start=l), wave(*s, functions, start=l + 2), 2 + wave(*s, start=l + 4)) for l, s in enumerate(shapes)]


def dispensable(functions):
    """The same of a network [2, 3, 1], in which an edge to the first hidden node and all of the last hardly matter."""
    (a, c, s), (b, d, t) = two_layers(functions, 3)
    for part in (a, c):
        part[0, 1] *= 1e-2
    for part in (b, d):
        part[0, 2] *= 1e-4
    return [(a, c, s), (b, d, t)]


def filled(model, arrays):
    """The model with these arrays of its layers, biases 0."""
    named = {f"{l}.{key}": a for l, own in enumerate(arrays) for key, a in zip(("base.W", "spline.W", "spline.scale"), own)}
    shaped = {key: a[:, :, None] if key.endswith("base.W") else a for key, a in named.items()}
    shaped |= {f"{l}.bias": np.zeros(layer.sums) for l, layer in enumerate(model.net.layers) if layer.bias}
    return replace(model, theta=model.net.join(shaped))


# --------------------------------------------------------------------------------------------------------- what they say


def by_pykan():
    torch = pytest.importorskip("torch")
    KAN = pytest.importorskip("kan.MultKAN").KAN
    from kan import spline, utils

    torch.set_default_dtype(torch.float64)
    row = lambda a: torch.tensor(np.asarray(a, float))
    said = {"clamped": spline.B_batch(row(AT)[:, None], row(CLAMPED)[None], k=3)[:, 0]}
    said["right end"] = spline.B_batch(row([1.0])[:, None], row([0, 0.5, 1])[None], k=0)[:, 0]
    for y_th in (10.0, 1000.0):
        for name in GUARDS:
            _, value = utils.SYMBOLIC_LIB[name][3](row(ARGUMENTS), torch.tensor(y_th))
            said[f"{name} guarded at {y_th:g}"] = value
    t = torch.linspace(-np.pi, np.pi, 201)
    sine = lambda A: utils.fit_params(t, A * torch.sin(t), torch.sin, (0.5, 1.5), (-0.5, 0.5), iteration=1, verbose=False)
    said["r2 of sines"] = [sine(A)[1] for A in AMPLITUDES]
    model = KAN([1, 1], grid=3, k=3, auto_save=False)
    act = model.act_fun[0]
    act.coef.data[0, 0], act.scale_base.data[:], act.scale_sp.data[:] = row(COEFFICIENTS), 0.3, 0.5
    model(row(EDGE)[:, None])
    said["best"] = model.suggest_symbolic(0, 0, 0, verbose=False)[0]
    for name in utils.SYMBOLIC_LIB:
        said[f"r2 of {name}"] = model.fix_symbolic(0, 0, 0, name, verbose=False, log_history=False)
        if name == "tanh":
            a, b, c, d = model.symbolic_fun[0].affine[0, 0]
            said["tanh"] = c * torch.tanh(a * row(EDGE) + b) + d
        model.unfix_symbolic(0, 0, 0, log_history=False)
    updated, large = KAN([2, 2, 1], grid=3, k=3, auto_save=False), KAN([2, 3, 1], grid=3, k=3)  # prune writes to a folder
    for made, arrays in ((updated, two_layers(6)), (large, dispensable(6))):
        for act, (base, c, scale) in zip(made.act_fun, arrays):
            act.scale_base.data, act.coef.data = row(base.T), row(c.swapaxes(0, 1))
            act.scale_sp.data = row(scale.T)
    updated.update_grid_from_samples(row(CROWDED))
    said["two layers"] = updated(row(CROWDED[::20]))
    said["penalty"] = model.get_reg("edge_forward_spline_n", 1.0, 2.0, 0.0, 0.0)
    large(row(CROWDED))
    return said | {"pruned": large.prune()(row(CROWDED[::20]))}


def by_pykan_0_0():
    torch, kan = pytest.importorskip("torch"), pytest.importorskip("kan.KAN")  # a module that later versions do not have
    from kan.utils import SYMBOLIC_LIB

    torch.set_default_dtype(torch.float32)  # in which it builds
    build = lambda *widths: kan.KAN(list(widths), grid=3, k=3).double()
    edge, updated, large = build(1, 1), build(2, 2, 1), build(2, 3, 1)
    torch.set_default_dtype(torch.float64)
    row = lambda a: torch.tensor(np.asarray(a, float))
    for made in (edge, updated, large):
        for act in made.act_fun:
            act.grid.data = torch.linspace(-1, 1, 4).repeat(act.size, 1)  # as without single precision
    for made, arrays in ((updated, two_layers(6)), (large, dispensable(6))):
        for act, (base, c, scale) in zip(made.act_fun, arrays):
            act.scale_base.data, act.coef.data, act.scale_sp.data = row(base.ravel()), row(c.reshape(-1, 6)), row(scale.ravel())
    act = edge.act_fun[0]
    act.coef.data[0], act.scale_base.data[:], act.scale_sp.data[:] = row(COEFFICIENTS), 0.3, 0.5
    edge(row(EDGE)[:, None])
    said = {"best": edge.suggest_symbolic(0, 0, 0, verbose=False)[0]}
    for name in SYMBOLIC_LIB:
        said[f"r2 of {name}"] = edge.fix_symbolic(0, 0, 0, name, verbose=False)
        edge.unfix_symbolic(0, 0, 0)
    updated(row(CROWDED))
    said["scores"] = updated.acts_scale[0]
    updated.update_grid_from_samples(row(CROWDED))
    said["two layers"] = updated(row(CROWDED[::20]))
    large(row(CROWDED))
    torch.set_default_dtype(torch.float32)
    return said | {"pruned": large.prune().double()(row(CROWDED[::20]))}


def by_efficient_kan():
    torch, kan_linear = pytest.importorskip("torch"), pytest.importorskip("efficient_kan").KANLinear
    from efficient_kan import KAN

    torch.set_default_dtype(torch.float64)
    said = {}
    for name, knots, degree in (("clamped", CLAMPED, 3), ("double", DOUBLE, 2)):
        layer = kan_linear(1, 1, len(knots) - 2 * degree - 1, degree)
        layer.grid = torch.tensor(knots)[None]
        said[name] = layer.b_splines(torch.tensor(AT)[:, None])[:, 0]
    layer = kan_linear(2, 2, grid_size=5).double()
    for name, value in (("spline_weight", wave(2, 2, 8)), ("spline_scaler", 2 + wave(2, 2, start=1))):
        getattr(layer, name).data = torch.tensor(value)
    loss = layer.regularization_loss(1.0, 1.0)
    loss.backward()
    said |= {"penalty": loss, "penalty's gradient": layer.spline_weight.grad}
    layer.update_grid(torch.tensor(CROWDED))
    said |= {"grid": layer.grid, "weights": layer.scaled_spline_weight}
    model = KAN([2, 2, 1]).double()
    for layer, arrays in zip(model.layers, two_layers(8)):
        for name, a in zip(("base_weight", "spline_weight", "spline_scaler"), arrays):
            getattr(layer, name).data = torch.tensor(a)
    model(torch.tensor(CROWDED), update_grid=True)
    return said | {"two layers": model(torch.tensor(CROWDED[::20]))}


def by_jaxkan():
    jax = pytest.importorskip("jax")
    layers = pytest.importorskip("jaxkan.layers.Spline")
    from flax import nnx

    jax.config.update("jax_enable_x64", True)
    said = {}
    for name, intervals, x in (("dense", 3, CROWDED), ("sparse", 50, SPARSE)):
        P = x.shape[1]
        layer = layers.SplineLayer(n_in=P, n_out=2, G=intervals)
        layer.c_basis = nnx.Param(jax.numpy.asarray(wave(2, P, intervals + 3)))
        layer.update_grid(jax.numpy.asarray(x), intervals)
        said |= {f"{name} grid": layer.grid.item, f"{name} weights": layer.c_basis[...]}
    model = pytest.importorskip("jaxkan.models.KAN").KAN([2, 2, 1], "spline", {"G": 3})
    for layer, arrays in zip(model.layers, two_layers(6)):
        for name, a in zip(("c_res", "c_basis", "c_spl"), arrays):
            setattr(layer, name, nnx.Param(jax.numpy.asarray(a)))
    model.update_grids(jax.numpy.asarray(CROWDED), 3)
    return said | {"two layers": model(jax.numpy.asarray(CROWDED[::20]))}


ASKED = {"pykan": by_pykan, "efficient-kan": by_efficient_kan, "jaxkan": by_jaxkan, "pykan-0.0": by_pykan_0_0}


def plain(value):
    """Numbers as lists, NaN as None."""
    if isinstance(value, str):
        return value
    a = np.asarray(value.detach() if hasattr(value, "detach") else value, float)
    return np.where(np.isfinite(a), a, None).tolist() if a.ndim else float(a)


def record(*libraries, path=FILE):
    """Ask some of the libraries, which must be there, and write what they say beside what is known."""
    said = {library: {name: plain(value) for name, value in ASKED[library]().items()} for library in libraries}
    path.write_text(json.dumps(json.loads(path.read_text()) | said, indent=0) + "\n")


SAID = json.loads(FILE.read_text())


def said(library, name):
    return np.array(SAID[library][name], float)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("library", ASKED)
def test_the_libraries_still_say_so(library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {name: plain(value) for name, value in ASKED[library]().items()}
    assert list(found) == list(SAID[library])
    for name, value in found.items():
        if isinstance(value, str):
            assert value == SAID[library][name]
        else:
            assert_allclose(np.array(value, float), said(library, name), rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.filterwarnings("ignore")
def test_the_defaults_are_theirs():
    pytest.importorskip("torch")
    multkan = pytest.importorskip("kan.MultKAN").MultKAN
    linear = pytest.importorskip("efficient_kan").KANLinear
    jaxkan = pytest.importorskip("jaxkan.layers.Spline").SplineLayer
    default = lambda f, name: inspect.signature(getattr(f, "__init__", f) if inspect.isclass(f) else f).parameters[name].default
    pykan, efficient, jax = (CONVENTIONS[n] for n in ("pykan-0.2.8", "efficient-kan-7b6ce1c", "jaxkan-0.3.7"))
    assert pykan.build["intervals"] == default(multkan, "grid") and default(multkan, "k") == 3
    assert pykan.penalty["l1"] == default(multkan.fit, "lamb_l1")
    assert pykan.penalty["entropy"] == default(multkan.fit, "lamb_entropy")
    assert default(multkan.fit, "reg_metric") == "edge_forward_spline_n"
    assert pykan.prune["nodes"] == default(multkan.prune, "node_th")
    assert pykan.prune["edges"] == default(multkan.prune, "edge_th")
    assert pykan.auto_symbolic["r2"] == default(multkan.auto_symbolic, "r2_threshold")
    assert symbolic.snap.RULES["pykan-0.2.8"][0] == default(multkan.suggest_symbolic, "weight_simple")
    assert efficient.build["intervals"] == default(linear, "grid_size") and default(linear, "spline_order") == 3
    assert jax.build["intervals"] == default(jaxkan, "G") and default(jaxkan, "k") == 3 and jax.build["bias"]


# ------------------------------------------------------------------------------------------------------------- B-splines


def test_b1_tied_knots_as_in_pykan():
    """Row sums 0, 1/2, 1, 1/2, 0 where they are 1."""
    assert_allclose(half_open(AT, CLAMPED, 3), said("pykan", "clamped"), rtol=1e-15)
    assert_allclose(half_open(AT, CLAMPED, 3).sum(1), 2 * np.minimum(AT, 1 - AT))
    assert_allclose(BSpline(CLAMPED[None], 3).dense(AT[:, None]).sum(2), 1)


def test_b2_tied_knots_without_a_guard():
    """Three knots in one place at both ends leave no number; one double knot leaves some."""
    assert np.isnan(half_open(AT, CLAMPED, 3, np.nan)).all() and np.isnan(said("efficient-kan", "clamped")).all()
    found = half_open(AT, DOUBLE, 2, np.nan)
    assert_array_equal(found, said("efficient-kan", "double"))
    assert np.isnan(found).any() and np.isfinite(found).any()


def test_b3_the_right_end_is_open():
    assert_array_equal(half_open([1.0], [0, 0.5, 1], 0), said("pykan", "right end"))
    assert_array_equal(BSpline([[0, 0.5, 1]], 0).dense(np.array([[1.0]]))[0], [[0, 1]])


def test_distinct_knots_know_no_difference():
    x = np.linspace(-2, 1.99, 50)
    assert_allclose(half_open(x, UNIFORM, 3), BSpline(UNIFORM[None], 3).dense(x[:, None])[:, 0], atol=1e-15)


@pytest.mark.parametrize("x, knots", [(np.zeros((2, 2)), CLAMPED), (AT, CLAMPED[None]), (AT, CLAMPED[:4])])
def test_half_open_splines_want_vectors(x, knots):
    with pytest.raises(ValueError, match="x and knots must be vectors, of at least degree \\+ 2 = 5 knots, but they have"):
        half_open(x, knots, 3)


# ------------------------------------------------------------------------------------------------------------- functions


@pytest.mark.parametrize("y_th", [10.0, 1000.0])
@pytest.mark.parametrize("name", GUARDS)
def test_b19_guarded_functions_are_pykans(name, y_th):
    f = guarded(name, y_th)
    assert_allclose(f(ARGUMENTS), said("pykan", f.name), rtol=1e-6 if name == "arctanh" else 1e-14, atol=1e-300)


@pytest.mark.parametrize("name", GUARDS)
def test_guarded_functions_have_their_derivatives(name):
    f, h = guarded(name), 1e-6
    smooth = np.array([-3, -0.8, -0.002, 0.002, 0.05, 0.7, 4])
    for k in range(3):
        differences = (f.derivatives(smooth + h, k)[k] - f.derivatives(smooth - h, k)[k]) / (2 * h)
        exact = f.derivatives(smooth, k + 1)[k + 1]
        assert_allclose(exact, differences, rtol=1e-4, atol=1e-6 * np.abs(exact).max())


def test_the_formula_of_a_guarded_function_is_the_function():
    import sympy

    x = sympy.Symbol("x", real=True)
    for name in GUARDS:
        f = guarded(name)
        formula = f.sympy(x)
        assert_allclose([float(formula.subs(x, u)) for u in ARGUMENTS], f(ARGUMENTS), rtol=1e-13, atol=1e-300)


def test_b19_sqrt_jumps_and_is_odd():
    f = guarded("sqrt")
    assert_allclose(f(np.array([0.01 * (1 - 1e-9), 0.01, -1])), [1e-5, 0.1, -1], rtol=1e-8)
    assert np.isnan(LIBRARY["sqrt"](-1.0))


@pytest.mark.parametrize("y_th", [10.0, 1000.0])
def test_other_guards_are_continuous_but_for_arctanh(y_th):
    """On both sides of where they begin."""
    begin = {"1/x": 1 / y_th, "log": np.exp(-y_th), "exp": np.log(y_th), "arcsin": 1, "arccos": -1}
    begin |= {f"1/x^{n}": y_th ** (-1 / n) for n in range(2, 6)} | dict.fromkeys(("1/sqrt(x)", "1/x^0.5"), y_th**-2)
    assert {*begin, "sqrt", "x^0.5", "arctanh"} == set(GUARDS)
    for name, x in begin.items():
        low, high = guarded(name, y_th)(x * (1 + 1e-12 * np.array([-1, 1])))
        assert_allclose(low, high, rtol=1e-5, atol=1e-5, err_msg=name)
    x = np.tanh(y_th) - 1e-4
    assert_allclose(guarded("arctanh", y_th)(x + np.array([-1e-9, 1e-9])), [4.95, y_th], rtol=1e-3)


def test_guarded_functions_are_edges_of_models_and_of_their_files(tmp_path):
    model, X = Model.build([1, 1]), EDGE[:, None]
    model = model.fix(X, 0, 0, 0, guarded("1/x"), affine=(1, 0, 2, 0.5))
    assert_allclose(model.predict(X), 2 * guarded("1/x")(EDGE) + 0.5)
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(io.FileError, match="uses the function '1/x guarded at 10', which is not one of kanref's"):
        Model.load(tmp_path / "m.safetensors")
    again = Model.load(tmp_path / "m.safetensors", {"1/x guarded at 10": guarded("1/x")})
    assert_array_equal(again.predict(X), model.predict(X))


def test_what_pykan_cannot_guard():
    with pytest.raises(ValueError, match="name must be one of '1/x', .*, but it is 'tan'"):
        guarded("tan")
    with pytest.raises(ValueError, match="y_th must be a number above 1, the largest value .*, but it is 0.5"):
        guarded("sqrt", 0.5)


# -------------------------------------------------------------------------------------------------------- symbolic step


@pytest.mark.parametrize("A, r2", list(zip(AMPLITUDES, said("pykan", "r2 of sines"))))
def test_b20_pykans_r2_knows_the_amplitude(A, r2):
    t = np.linspace(-np.pi, np.pi, 201)
    y = A * np.sin(t)
    v = (np.sin(t) ** 2).sum() * (y**2).sum()
    assert_allclose(r_squared(np.sin(t), y, 1e-4), v / (v + 1e-4), rtol=1e-14)
    found = scan(LIBRARY["sin"], t, y, reach=1.5)
    assert found.r2 >= r2 * (1 - 1e-3) and r_squared(np.sin(t), y, 1e-4) <= r2 * (1 + 1e-12)
    assert_allclose(r_squared(np.sin(t), y), 1, rtol=1e-14)
    assert fit_affine(LIBRARY["sin"], t, y).r2 == pytest.approx(1, abs=1e-14)


def test_r2_of_constants_is_zero():
    assert r_squared(np.ones(5), np.arange(5.0)) == r_squared(np.arange(5.0), np.ones(5), 1e-4) == 0


def one_edge(convention="strict"):
    """The edge that pykan was asked about."""
    model = Model.build([1, 1], intervals=3, scaled=True, convention=convention)
    return filled(model, [(np.full((1, 1), 0.3), COEFFICIENTS[None, None], np.full((1, 1), 0.5))])


def test_the_scan_finds_what_pykan_finds():
    """The best of 3 x 101 x 101 pairs for every function; where R^2 is flat to rounding, anything among equals."""
    y = one_edge().predict(EDGE[:, None])
    for name in PYKAN:
        assert_allclose(scan(LIBRARY[name], EDGE, y).r2, said("pykan", f"r2 of {name}"), rtol=1e-6, atol=1e-12, err_msg=name)
    assert_allclose(scan(LIBRARY["tanh"], EDGE, y)(EDGE), said("pykan", "tanh"), rtol=1e-9)


def test_suggestions_of_a_model_under_pykans_convention():
    model, X = one_edge("pykan-0.2.8"), EDGE[:, None]
    found = model.suggest(X, 0, 0, 0)
    assert found[0].function.name == SAID["pykan"]["best"]
    price = lambda name: 0.8 * LIBRARY[name].complexity + 0.2 * np.log2(1 + 1e-5 - float(said("pykan", f"r2 of {name}")))
    assert {fit.function.formula for fit in found} == {LIBRARY[name].formula for name in PYKAN}
    assert_allclose(found.scores, [price(fit.function.name) for fit in found], rtol=1e-6, atol=1e-7)
    strict = replace(model, convention="strict").suggest(X, 0, 0, 0)
    assert strict[0].r2 > found[0].r2
    assert model.suggest(X, 0, 0, 0, search="kanref", rule="kanref", simplicity=0.6, library=None)[0] == strict[0]
    fixed = model.fix(X, 0, 0, 0, "tanh")
    assert_allclose(fixed.predict(X), said("pykan", "tanh"), rtol=1e-9)
    assert not np.allclose(replace(model, convention="strict").fix(X, 0, 0, 0, "tanh").predict(X), fixed.predict(X), rtol=1e-6)
    snapped = model.auto_symbolic(X)
    assert snapped.net.layers[0].terms["symbolic"].formulas[0][2].name == SAID["pykan"]["best"]
    assert snapped.convention == "pykan-0.2.8"


def test_a_range_that_ends_at_the_best_stays_in_pykan_0_0():
    """exp is best at the largest b: 0.2.8 then looks between the two last numbers, 0.0 does not look again."""
    y = 1e-6 * np.exp(-EDGE)
    old, new = (scan(LIBRARY["exp"], EDGE, y, count=21, stays=stays) for stays in (True, False))
    assert (old.a, old.b) == (-1, 10) and new.b == 10 and new.r2 >= old.r2
    assert old.a in np.linspace(-10, 10, 21)


@pytest.mark.parametrize(
    "use",
    [
        lambda model, X: model.suggest(X, 0, 0, 0, search="grid"),
        lambda model, X: model.fix(X, 0, 0, 0, "sin", search="grid"),
        lambda model, X: model.fix(X, 0, 0, 0, "sin", affine=(1, 0, 1, 0), search="grid"),
        lambda model, X: model.auto_symbolic(X, search="grid"),
    ],
)
def test_searches_have_names(use):
    """Also where there is nothing to search."""
    constant = replace(one_edge(), theta=np.zeros(8))
    for model in (one_edge(), constant):
        with pytest.raises(ValueError, match="search must be one of 'kanref', 'pykan-0.2.8', 'pykan-0.0', but it is 'grid'"):
            use(model, EDGE[:, None])


# ---------------------------------------------------------------------------------------------------------------- grids


def layer_of(intervals, x, scaled, W, scale=None):
    net = kan([x.shape[1], 2], intervals=intervals, scaled=scaled, base=None)
    return net, net.join({"0.spline.W": W, **({"0.spline.scale": scale} if scaled else {})})


def effective(net, theta):
    return net.layers[0].terms["spline"].weights.tensor(
        {name.removeprefix("0.spline."): a for name, a in net.split(theta).items()}
    )


def test_b10_scales_enter_twice():
    """The edge becomes w_s^2 R c; right is w_s R c, so that the curve stays."""
    scale = 2 + wave(2, 2, start=1)
    net, theta = layer_of(5, CROWDED, True, wave(2, 2, 8), scale)
    twice, again, report = grids.update_from_samples(net, theta, CROWDED, "efficient", refit="efficient")
    assert_allclose(twice.layers[0].terms["spline"].basis.knots, said("efficient-kan", "grid"), rtol=1e-7)
    assert_allclose(effective(twice, again), said("efficient-kan", "weights"), rtol=1e-5)
    once, right, _ = grids.update_from_samples(net, theta, CROWDED, "efficient")
    assert_allclose(effective(twice, again), effective(once, right) * scale[:, :, None], rtol=1e-12)
    largest = np.abs(twice.edges(again, 0, CROWDED) - net.edges(theta, 0, CROWDED)).max((0, 1))
    assert_allclose(report[0].error, largest, rtol=1e-9)
    bare, theta = layer_of(5, CROWDED, False, wave(2, 2, 8))
    assert_array_equal(
        grids.update_from_samples(bare, theta, CROWDED, "efficient", refit="efficient")[1],
        grids.update_from_samples(bare, theta, CROWDED, "efficient")[1],
    )


def test_b13_normal_equations():
    """Right with dense samples; no solution with 60 samples and 50 intervals, where jaxKAN has NaN."""
    net, theta = layer_of(3, CROWDED, False, wave(2, 2, 6))
    new, fitted, report = grids.update_from_samples(net, theta, CROWDED, "jaxkan", refit="jaxkan")
    assert_allclose(new.layers[0].terms["spline"].basis.knots, said("jaxkan", "dense grid"), rtol=1e-6)
    assert_allclose(effective(new, fitted), said("jaxkan", "dense weights"), rtol=1e-4)
    assert_allclose(fitted, grids.update_from_samples(net, theta, CROWDED, "jaxkan")[1], rtol=1e-10)
    assert_array_equal(report[0].rank, [6, 6])
    net, theta = layer_of(50, SPARSE, False, wave(2, 1, 53))
    assert np.isnan(said("jaxkan", "sparse weights")).all()
    with pytest.raises(ValueError, match="the normal equations of 53 B-splines .* are singular, for which jaxKAN has NaN"):
        grids.update_from_samples(net, theta, SPARSE, "jaxkan", refit="jaxkan")
    assert np.isfinite(grids.update_from_samples(net, theta, SPARSE, "jaxkan")[1]).all()


def test_refits_have_names():
    net = kan([2, 2])
    with pytest.raises(ValueError, match="refit must be one of 'kanref', 'efficient', 'jaxkan', but it is 'twice'"):
        grids.update_from_samples(net, net.init(0), CROWDED, refit="twice")
    basis = BSpline.uniform(2, 3, 3)
    net = KAN((Layer({"spline": Linear(basis, Scaled(Tucker((2, 2, basis.size), (1, 1, 1))))}),))
    with pytest.raises(ValueError, match='refit="efficient" multiplies stored coefficients, but 0.spline has .* Tucker weights'):
        grids.update_from_samples(net, net.init(0), CROWDED, refit="efficient")


# -------------------------------------------------------------------------------------------------------------- penalties


def test_b11_efficient_kans_penalty_sees_neither_samples_nor_scales():
    net, theta = layer_of(5, CROWDED, True, wave(2, 2, 8), 2 + wave(2, 2, start=1))
    objective = sparsify.penalty(net, CROWDED, "efficient-kan")
    value, gradient = objective(theta)
    assert_allclose(value, said("efficient-kan", "penalty"), rtol=1e-13)
    views = net.split(gradient)
    assert_allclose(views["0.spline.W"], said("efficient-kan", "penalty's gradient"), rtol=1e-12)
    assert not views["0.spline.scale"].any()
    small = net.join({**net.split(theta), "0.spline.scale": 1e-3 * net.split(theta)["0.spline.scale"]})
    assert objective.value(small) == value == sparsify.penalty(net, CROWDED[:1], "efficient-kan").value(theta)
    assert sparsify.penalty(net, CROWDED).value(small) < 0.7 * sparsify.penalty(net, CROWDED).value(theta)


def test_b11_a_zero_edge_costs_nothing_where_efficient_kan_has_nan():
    W = wave(2, 2, 8)
    W[0, 1] = 0
    net, theta = layer_of(5, CROWDED, False, W)
    value, gradient = sparsify.penalty(net, CROWDED, "efficient-kan")(theta)
    V = np.abs(W).mean(2)
    p = V[V > 0] / V.sum()
    assert_allclose(value, V.sum() - (p * np.log(p)).sum(), rtol=1e-14)
    assert np.isfinite(gradient).all() and not net.split(gradient)["0.spline.W"][0, 1].any()


def test_penalties_of_stored_coefficients_and_values_add_up():
    """Several layers, formulas, products, coefficient penalties: by Taylor remainders."""
    net = kan([2, [1, 1], 2], scaled=True, intervals=3, degree=2)
    theta = 0.1 + np.abs(wave(net.size))
    check_objective(sparsify.penalty(net, CROWDED, "efficient-kan", 0.7, 1.3, 0.2, 0.1), theta, np.random.default_rng(0))


def test_pykans_defaults_in_a_models_objective():
    """lamb of pykan's fit is the weight; lamb_l1 = 1 and lamb_entropy = 2 come with the convention."""
    X, y = EDGE[:, None], EDGE
    plain, model = one_edge(), one_edge("pykan-0.2.8")
    cost = (model.objective(X, y, 0.1).value(model.theta) - model.loss(X, y)) / 0.1
    assert_allclose(cost, said("pykan", "penalty"), rtol=1e-12)
    own = model.objective(X, y, {"weight": 0.1, "metric": "paper", "entropy": 1.0}).value(model.theta)
    assert own == plain.objective(X, y, 0.1).value(plain.theta)


# ----------------------------------------------------------------------------------------------------- models as a whole


def test_strict_is_the_default_and_changes_nothing():
    assert CONVENTIONS["strict"].build == CONVENTIONS["strict"].prune == {}
    model = Model.build([2, 3, 1], seed=3)
    assert model.convention == "strict" and "convention" not in model.summary()
    assert_array_equal(model.theta, kan([2, 3, 1]).init(3))
    assert_array_equal(model.theta, Model.build([2, 3, 1], seed=3, convention="strict", scheme="kanref").theta)


@pytest.mark.parametrize("use", [lambda name: Model.build([2, 1], convention=name), lambda name: one_edge(name)])
def test_unknown_conventions_are_told_the_known_ones(use):
    known = "'strict', 'pykan-0.0', 'pykan-0.2.8', 'efficient-kan-7b6ce1c', 'jaxkan-0.3.7'"
    with pytest.raises(ValueError, match=f"convention must be one of {known}, but it is 'pykan'"):
        use("pykan")


@pytest.mark.parametrize("name", [name for name in CONVENTIONS if name != "strict"])
def test_a_convention_gives_defaults_and_arguments_win(name):
    own, options = CONVENTIONS[name], dict(CONVENTIONS[name].build)
    model = Model.build([2, 3, 1], seed=1, convention=name)
    scheme = options.pop("scheme")
    assert_array_equal(model.theta, kan([2, 3, 1], **options).init(1, scheme))
    assert Model.build([2, 3, 1], intervals=7, scaled=False, convention=name).net.layers[0].terms["spline"].basis.intervals == 7
    lecun = Model.build([2, 3, 1], seed=1, scheme="lecun", convention=name)
    assert_array_equal(lecun.theta, kan([2, 3, 1], **options).init(1, "lecun"))
    X = CROWDED
    for given in ({}, {"rule": "kanref", "refit": "kanref"}, {"mix": 0.5}):
        net, theta, _ = grids.update_from_samples(model.net, model.theta, X, **{**own.update_grid, **given})
        updated = model.update_grid(X, **given)
        assert_array_equal(updated.theta, theta)
        assert_array_equal(updated.net.layers[1].terms["spline"].basis.knots, net.layers[1].terms["spline"].basis.knots)
        assert updated.convention == name
    for given in ({}, {"method": "paper"}):
        found = model.attribute(X, *given.values())
        assert found.method == {"method": "backward", **own.attribute, **given}["method"]
    for given in ({}, {"nodes": 0.0, "edges": 0.0, "means": True}, {"keep_nodes": [2], "edges": 0.0}):
        expected = sparsify.prune(model.net, model.theta, X, **{**own.prune, **given})
        assert_array_equal(model.prune(X, **given).theta, expected.theta)
    trained = model.fit(X, X[:, 0], steps=2, sparsity=1e-3)
    assert trained.convention == name and f"convention: {name}" in trained.summary()


def test_what_is_falsy_is_given_too():
    X, y = CROWDED, CROWDED[:, 0]
    model = Model.build([2, 3, 1], bias=False, scaled=False, base=None, convention="pykan-0.0")
    assert list(model.net.layout) == ["0.spline.W", "1.spline.W"]
    model = Model.build([2, 3, 1], convention="efficient-kan-7b6ce1c")
    options = {**CONVENTIONS[model.convention].update_grid, "mix": 0}
    assert_array_equal(model.update_grid(X, mix=0).theta, grids.update_from_samples(model.net, model.theta, X, **options)[1])
    model = Model.build([2, 3, 1], convention="pykan-0.2.8")
    sizes = sparsify.penalty(model.net, X, "pykan-0.2.8", 1.0, 0.0).value(model.theta)
    value = model.objective(X, y, {"weight": 1, "entropy": 0}).value(model.theta)
    assert_allclose(value, model.loss(X, y) + sizes, rtol=1e-14)
    assert model.objective(X, y, 0).value(model.theta) == model.loss(X, y)
    found = one_edge("pykan-0.2.8").suggest(EDGE[:, None], 0, 0, 0, library=["x", "x^3"], simplicity=0)
    assert_allclose(found.scores, [np.log2(1 + 1e-5 - fit.r2) for fit in found], rtol=1e-12)


@pytest.mark.parametrize(
    "step",
    [
        lambda model, X: model.refine(),
        lambda model, X: model.refine(7, X),
        lambda model, X: model.fit(X, X[:, 0], steps=1, intervals=[3, 4]),
        lambda model, X: model.fit(X, X[:, 0], steps=1, validation=0.2),
        lambda model, X: model.prune(X, keep_inputs=1, edges=0.0),
        lambda model, X: model.fix(X, 0, 0, 0, "sin", search="kanref"),
        lambda model, X: model.fix(X, 0, 0, 0, "sin", affine=(1, 0, 1, 0)).unfix(X, 0, 0, 0),
        lambda model, X: model.auto_symbolic(X, library=["x"], search="kanref"),
    ],
)
def test_every_step_keeps_the_convention(step):
    model = Model.build([2, 2, 1], convention="pykan-0.2.8")
    assert step(model, CROWDED).convention == "pykan-0.2.8"


def test_conversion_keeps_the_convention(tmp_path):
    Model.build([2, 1], convention="jaxkan-0.3.7").save(tmp_path / "a.safetensors")
    convert(str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"))
    assert Model.load(tmp_path / "b.safetensors").convention == "jaxkan-0.3.7"


@pytest.mark.parametrize(
    "library, name, rtol",
    [
        ("pykan", "pykan-0.2.8", 1e-9),
        ("pykan-0.0", "pykan-0.0", 1e-9),
        ("efficient-kan", "efficient-kan-7b6ce1c", 1e-6),
        ("jaxkan", "jaxkan-0.3.7", 1e-5),
    ],
)
def test_an_updated_network_has_their_values(library, name, rtol):
    """Layer by layer, what follows seeing what the update made of the layers before; jaxKAN's steps are in float32."""
    model = Model.build([2, 2, 1], convention=name)
    model = filled(model, two_layers(model.net.layers[0].terms["spline"].basis.size))
    expected = said(library, "two layers")
    assert_allclose(model.update_grid(CROWDED).raw(CROWDED[::20]), expected, rtol=0, atol=rtol * np.abs(expected).max())
    strict = replace(model, convention="strict").update_grid(CROWDED)
    assert not np.allclose(strict.raw(CROWDED[::20]), expected, rtol=1e-3)


@pytest.mark.parametrize(
    "library, name, edges, rtol", [("pykan", "pykan-0.2.8", 5, 1e-9), ("pykan-0.0", "pykan-0.0", 6, 1e-5)]
)
def test_a_pruned_network_has_their_values(library, name, edges, rtol):
    """The last node goes; 0.2.8 drops a weak edge, too, and nothing takes the place of its mean. 0.0 prunes in float32."""
    model = filled(Model.build([2, 3, 1], convention=name), dispensable(6))
    pruned = model.prune(CROWDED)
    assert pruned.net.widths == (2, 2, 1) and sum(kept.sum() for kept in pruned.report.edges) == edges
    assert_allclose(pruned.raw(CROWDED[::20]), said(library, "pruned"), rtol=rtol)
    strict = replace(model, convention="strict").prune(CROWDED)
    assert not np.allclose(strict.raw(CROWDED[::20]), said(library, "pruned"), rtol=10 * rtol)


def test_pykan_0_0_scores_and_suggestions():
    """Its metric, and its library ranked by R^2 alone."""
    model = filled(Model.build([2, 2, 1], convention="pykan-0.0"), two_layers(6))
    assert_allclose(model.attribute(CROWDED).edges[0], said("pykan-0.0", "scores"), rtol=1e-12)
    y, names = one_edge().predict(EDGE[:, None]), [key[6:] for key in SAID["pykan-0.0"] if key.startswith("r2 of ")]
    assert names == PYKAN_0_0
    for name in names:
        found = scan(LIBRARY[name], EDGE, y, stays=True)
        assert_allclose(found.r2, said("pykan-0.0", f"r2 of {name}"), rtol=1e-6, atol=1e-12, err_msg=name)
    edge = one_edge("pykan-0.0")
    best = edge.suggest(EDGE[:, None], 0, 0, 0)[0]
    assert best.function.name == SAID["pykan-0.0"]["best"] and best.r2 == scan(best.function, EDGE, y, stays=True).r2


def test_conventions_do_part():
    """Each switch is seen: other grids, scores and survivors."""
    theta, X = 0.3 * wave(72), CROWDED
    model = replace(Model.build([2, 3, 1], convention="pykan-0.2.8"), theta=theta)
    strict = replace(model, convention="strict")
    assert not np.array_equal(model.update_grid(X).theta, strict.update_grid(X).theta)
    bare, filled = (own.prune(X, nodes=0.0, edges=0.2) for own in (model, strict))  # by what stays in place of edges
    assert bare.net.widths == filled.net.widths and not np.allclose(bare.raw(X), filled.raw(X))
    old = replace(strict, convention="pykan-0.0")
    spans = [layer.terms["spline"].basis.domain for layer in model.net.layers]
    for E, paper, span in zip(old.attribute(X).edges, strict.attribute(X, "paper").edges, spans):
        assert_allclose(E, paper / (np.ptp(span, axis=1) + 1e-4), rtol=1e-14)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_files_keep_the_convention(name, tmp_path):
    model = Model.build([2, 1], convention=name)
    model.save(tmp_path / "m.safetensors")
    assert Model.load(tmp_path / "m.safetensors").convention == name


def test_files_without_a_convention_are_strict_and_unknown_ones_are_refused(tmp_path):
    path, model = tmp_path / "m.safetensors", Model.build([2, 1])
    history = {name: [] for name in ("loss", "validation", "rate", "seconds", "run")}
    extra = {"task": "regression", "history": history, "reasons": [], "user": {}}
    io.save_network(path, model.net, model.theta, extra)
    assert Model.load(path).convention == "strict"
    io.save_network(path, model.net, model.theta, {**extra, "convention": "pykan-9"})
    with pytest.raises(io.FileError, match="convention must be one of 'strict', .*, but it is 'pykan-9'"):
        Model.load(path)
