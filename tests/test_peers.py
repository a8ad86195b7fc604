"""Other libraries' numbers: the same arrays give the same outputs, losses and derivatives to 1e-12.

`data/peers.json` holds what pykan, efficient-kan and jaxKAN returned in float64 (its "about" says how). Each case
becomes a network by hand: every array of the peer has one place in theta. Where a peer can be imported, fresh models
are compared too.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from kanref.bases import BSpline, silu
from kanref.network import KAN, Layer
from kanref.nodes import AFFINE, Nodes
from kanref.objectives import mse
from kanref.terms import Linear
from kanref.weights import Full, Masked, Scaled

CASES = json.loads((Path(__file__).parent / "data" / "peers.json").read_text())["cases"]
FULL = [case["name"] for case in CASES if "hessian" in case["expected"]]
UPDATED = [case["name"] for case in CASES if "y_samples" in case["expected"]]


def decoded(arrays):
    return {name: np.reshape(array["data"], array["shape"]) for name, array in arrays.items()}


def case_named(name):
    case = next(case for case in CASES if case["name"] == name)
    return case["library"], case["structure"], decoded(case["arrays"]), decoded(case["expected"])


def assert_near(found, expected, what="", tolerance=1e-12):
    """Agreement relative to the largest entry, or 1 if that is larger."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, what
    error = np.abs(found - expected).max(initial=0) / max(1, np.abs(expected).max(initial=0))
    assert error <= tolerance, f"{what} is off by {error:.1e}"


# ----------------------------------------------------------------------------------- a peer's arrays, seen as a network


def terms(knots, degree, mask=None):
    """w_b silu(x) + w_s spline(x), with a mask on both."""
    basis = BSpline(knots, degree, outside="zero")

    def build(outputs):
        base, spline = Full((outputs, basis.inputs, 1)), Scaled(Full((outputs, basis.inputs, basis.size)))
        if mask is not None:
            base, spline = Masked(base, mask), Masked(spline, mask)
        return {"base": Linear(silu, base), "spline": Linear(basis, spline)}

    return build


def pykan(structure, arrays):
    """act_fun.{l} and the affine maps; arrays are (in, out, ...), the mask multiplies base and spline."""
    layers, places = [], []
    for l, degree in enumerate(structure["degree"]):
        own = f"act_fun.{l}."
        mask = arrays[own + "mask"].T
        arity = (1,) * structure["sums"][l + 1] + tuple(structure["arity"][l + 1])
        layers.append(Layer(terms(arrays[own + "grid"], degree, mask)(len(mask)), nodes=Nodes(arity, trained=AFFINE)))
        places += [
            (own + "coef", f"{l}.spline.W", (1, 0, 2)),
            (own + "scale_sp", f"{l}.spline.scale", (1, 0)),
            (own + "scale_base", f"{l}.base.W", (1, 0)),
            *((f"{name}_{l}", f"{l}.{name}", (0,)) for name in AFFINE),
        ]
    return layers, places


def efficient_kan(structure, arrays):
    layers, places = [], []
    for l, degree in enumerate(structure["degree"]):
        own = f"layers.{l}."
        layers.append(Layer(terms(arrays[own + "grid"], degree)(structure["widths"][l + 1])))
        places += [
            (own + "spline_weight", f"{l}.spline.W", (0, 1, 2)),
            (own + "spline_scaler", f"{l}.spline.scale", (0, 1)),
            (own + "base_weight", f"{l}.base.W", (0, 1)),
        ]
    return layers, places


def jaxkan(structure, arrays):
    """Layer type "base" keeps a row of knots for every edge, o n_in + i; here outputs share those of their input."""
    layers, places = [], []
    for l, degree in enumerate(structure["degree"]):
        own, (inputs, outputs) = f"layers.{l}.", structure["widths"][l : l + 2]
        knots = arrays[own + "grid.item"]
        np.testing.assert_array_equal(knots, np.tile(knots[:inputs], (len(knots) // inputs, 1)))
        layers.append(Layer(terms(knots[:inputs], degree)(outputs), bias=True))
        edges = tuple(range(arrays[own + "c_basis"].ndim))
        places += [
            (own + "c_basis", f"{l}.spline.W", edges),
            (own + "c_spl", f"{l}.spline.scale", (0, 1)),
            (own + "c_res", f"{l}.base.W", (0, 1)),
            (own + "bias", f"{l}.bias", (0,)),
        ]
    return layers, places


READERS = {"pykan": pykan, "efficient-kan": efficient_kan, "jaxkan": jaxkan}


def network(library, structure, arrays):
    """The network, its theta, and back(theta) -> the peer's arrays."""
    layers, places = READERS[library](structure, arrays)
    net = KAN(tuple(layers))
    shapes = {name: shape for name, (_, shape) in net.layout.items()}
    theta = net.join({ours: arrays[name].transpose(axes).reshape(shapes[ours]) for name, ours, axes in places})

    def back(theta):
        views, found = net.split(theta), {}
        for name, ours, axes in places:  # every permutation here is its own inverse
            shape = tuple(arrays[name].shape[a] for a in axes)
            found[name] = views[ours].reshape(shape).transpose(axes)
        return found

    return net, theta, back


def compare(library, structure, arrays, expected):
    """Every expected number: y, loss, grad.{array}, grad.x, jacobian, hessian."""
    net, theta, back = network(library, structure, arrays)
    x, target = arrays["x"], arrays["target"]
    value, gradient = mse(net, x, target)(theta)
    y, tape = net.forward(theta, x[None])
    x_bar = net.pullback(theta, tape, 2 * (y - target) / target.size, inputs=True)[1]
    found = {f"grad.{name}": array for name, array in back(gradient).items()}
    found |= {"y": net(theta, x), "loss": value, "grad.x": x_bar[0]}
    if "hessian" in expected:
        found |= {"jacobian": net.gradient(theta, x), "hessian": net.hessian(theta, x)}
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert_near(found[name], array, name)


# ----------------------------------------------------------------------------------------------------------- the claims


@pytest.mark.parametrize("name", FULL)
def test_outputs_losses_and_derivatives(name):
    compare(*case_named(name))


@pytest.mark.parametrize("name", FULL)
def test_parameter_jacobian_gives_the_gradient(name):
    library, structure, arrays, expected = case_named(name)
    net, theta, back = network(library, structure, arrays)
    r, J = mse(net, arrays["x"], arrays["target"]).residuals(theta)
    for array, gradient in back(2 * J.T @ r).items():
        assert_near(gradient, expected[f"grad.{array}"], array)


@pytest.mark.parametrize("name", UPDATED)
def test_outputs_on_knots_that_a_peer_adapted(name):
    library, structure, arrays, expected = case_named(name)
    for key, array in expected.items():
        if key.startswith("updated."):
            arrays[key.removeprefix("updated.")] = array
    net, theta, _ = network(library, structure, arrays)
    assert_near(net(theta, arrays["x"]), expected["y"])
    assert_near(net(theta, arrays["samples"]), expected["y_samples"])


def test_the_cases_cover_what_they_claim():
    """Points on a knot, outside the domain and outside every knot; masked edges; products of two and three factors."""
    assert {case_named(name)[0] for name in FULL} == set(READERS)
    for name in FULL:
        library, _, arrays, _ = case_named(name)
        knots = next(array for key, array in arrays.items() if "0.grid" in key)[: arrays["x"].shape[1]]
        x = arrays["x"]
        assert (x[:, :, None] == knots).any()
        assert ((x < knots[:, 0]) | (x > knots[:, -1])).any()
        if library == "pykan":
            assert (arrays["act_fun.0.mask"] == 0).any()
    arities = {a for name in FULL for level in case_named(name)[1].get("arity", ()) for a in level}
    assert arities == {2, 3}


# ------------------------------------------------------------------------------------------------------ the peers, live


def numbers_of(torch, model, rng, inputs, outputs):
    """x, target, and what autograd says about the mean squared error, under the names of a case."""
    x, target = rng.normal(0, 0.8, (30, inputs)), rng.normal(size=(30, outputs))
    x_t = torch.tensor(x, requires_grad=True)
    y = model(x_t)
    loss = ((y - torch.tensor(target)) ** 2).mean()
    loss.backward()
    expected = {f"grad.{name}": p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    expected |= {"y": y.detach().numpy(), "loss": loss.item(), "grad.x": x_t.grad.numpy()}
    return {"x": x, "target": target}, expected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "seed, degree, width, arity", [(0, 3, [2, 4, 1], 2), (1, 4, [3, [2, 2], 2], 3), (2, 1, [2, 3], 2)]
)
def test_fresh_pykan_models(torch, seed, degree, width, arity):
    kan, rng = pytest.importorskip("kan"), np.random.default_rng(seed)
    intervals = int(rng.integers(2, 9))
    model = kan.KAN(
        width=list(width),
        grid=intervals,
        k=degree,
        mult_arity=arity,
        seed=seed,
        auto_save=False,
        affine_trainable=True,
        symbolic_enabled=False,
    )
    for name, array in model.state_dict().items():
        if "scale" in name or "bias" in name or "coef" in name:
            array.copy_(torch.tensor(rng.normal(size=array.shape)))
        elif name.startswith("act_fun") and name.endswith("mask"):
            array.copy_(torch.tensor(rng.random(array.shape) > 0.2, dtype=array.dtype))
    levels = [(w, 0) if isinstance(w, int) else w for w in width]
    arrays = {name: array.numpy().copy() for name, array in model.state_dict().items()}
    extra, expected = numbers_of(torch, model, rng, levels[0][0], sum(levels[-1]))
    structure = {
        "degree": [degree] * (len(width) - 1),
        "sums": [sums for sums, _ in levels],
        "arity": [[arity] * products for _, products in levels],
    }
    compare("pykan", structure, arrays | extra, expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed, degree, widths", [(0, 3, [2, 4, 1]), (1, 2, [3, 2, 2, 2]), (2, 5, [1, 1])])
def test_fresh_efficient_kan_models(torch, seed, degree, widths):
    efficient_kan, rng = pytest.importorskip("efficient_kan"), np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = efficient_kan.KAN(widths, grid_size=int(rng.integers(2, 9)), spline_order=degree)
    arrays = {name: array.numpy().copy() for name, array in model.state_dict().items()}
    extra, expected = numbers_of(torch, model, rng, widths[0], widths[-1])
    compare("efficient-kan", {"degree": [degree] * (len(widths) - 1), "widths": widths}, arrays | extra, expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "seed, degree, widths, kind", [(0, 3, [2, 4, 1], "spline"), (1, 2, [3, 2, 2], "base"), (2, 5, [1, 2], "spline")]
)
def test_fresh_jaxkan_models(seed, degree, widths, kind):
    """All numbers drawn anew in float64, as jaxKAN makes float32 ones."""
    jax, nnx = pytest.importorskip("jax"), pytest.importorskip("flax.nnx")
    jaxkan_models, rng = pytest.importorskip("jaxkan.models.KAN"), np.random.default_rng(seed)
    with jax.enable_x64(True):
        model = jaxkan_models.KAN(widths, kind, {"k": degree, "G": int(rng.integers(2, 9))}, seed=seed)
        arrays = {}
        for l, layer in enumerate(model.layers):
            arrays[f"layers.{l}.grid.item"] = np.asarray(layer.grid.item, float)
            layer.grid.item = jax.numpy.asarray(arrays[f"layers.{l}.grid.item"])
            for name in ("c_basis", "c_spl", "c_res", "bias"):
                drawn = rng.normal(size=getattr(layer, name)[...].shape)
                arrays[f"layers.{l}.{name}"] = drawn
                setattr(layer, name, nnx.Param(jax.numpy.asarray(drawn)))
        x, target = rng.normal(0, 0.8, (30, widths[0])), rng.normal(size=(30, widths[-1]))
        structure, parameters, rest = nnx.split(model, nnx.Param, ...)
        loss = lambda parameters, x: ((nnx.merge(structure, parameters, rest)(x) - target) ** 2).mean()
        value, (slopes, x_bar) = jax.value_and_grad(loss, (0, 1))(parameters, jax.numpy.asarray(x))
        expected = {"y": np.asarray(model(x)), "loss": float(value), "grad.x": np.asarray(x_bar)}
        for path, slope in nnx.to_flat_state(slopes):
            expected["grad." + ".".join(map(str, path))] = np.asarray(slope[...])
    compare("jaxkan", {"degree": [degree] * (len(widths) - 1), "widths": widths}, arrays | {"x": x, "target": target}, expected)
