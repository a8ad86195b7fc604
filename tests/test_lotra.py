"""Low tensor-rank adaptation: the start, what is frozen, gradients, merging, adapters by themselves, rates."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref import adapters, bases, check, grids, lotra, objectives, optimize, tensors
from kanref.bases import BSpline
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.io import FileError, save_network
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.nodes import Nodes
from kanref.pde import PROBLEMS
from kanref.sparsify import masked
from kanref.terms import Linear
from kanref.weights import Fixed, LoTRA, LowRank, Masked, Tucker

X = np.random.default_rng(0).uniform(-1.2, 1.2, (40, 3))
Y = np.random.default_rng(1).normal(size=(40, 2))


def pruned():
    net = kan([3, 4, 2], intervals=3)
    theta = net.init(5)
    return masked(net, theta, [[0, 1, 2], [0, 2, 3], [0, 1]])[:2]


def solved():
    """As `kanref.solve` makes them: inputs mapped, hidden values through a tanh, coarse splines refined."""
    options = {"intervals": 2, "degree": 4, "outside": "linear", "base": None, "normalise": "tanh"}
    net = kan([3, 4, 2], inputs=bases.MinMax([-1.2, -1.2, 0.0], [1.2, 1.2, 1.2]), **options)
    return grids.refine(net, net.init(6))


NETS = {
    "plain": lambda: (net := kan([3, 4, 2], intervals=3), net.init(1)),
    "bias": lambda: (net := kan([3, 4, 2], intervals=3, bias=True), net.init(2) + 0.1),
    "products, affine": lambda: (
        net := kan([3, [2, 2], 2], intervals=3, bias=True, affine=("subnode_scale", "subnode_bias", "node_scale")),
        net.init(3) + 0.1,
    ),
    "scaled": lambda: (net := kan([3, 4, 2], intervals=3, scaled=True), net.init(4)),
    "pruned": pruned,
    "refined": lambda: grids.refine(*NETS["plain"]()),
    "solved": solved,
    "adapted before": lambda: lotra.merge(*lotra.adapt(*NETS["bias"](), 2, start="core")),
}
NETS = {name: (lambda build=build: tuple(build())[-2:]) for name, build in NETS.items()}
STARTS = ("output", "core", "gradient")


def adapted(name, start="output", ranks=2, **options):
    net, theta = NETS[name]()
    if start == "gradient":
        options["gradient"] = objectives.mse(net, X, Y)(theta)[1]
    return net, theta, *lotra.adapt(net, theta, ranks, start=start, **options)


@pytest.mark.parametrize(
    ("name", "start"),  # a full gradient exists for full weights only
    [(name, start) for name in NETS for start in STARTS if (name, start) != ("scaled", "gradient")],
)
def test_the_start_is_the_frozen_network_bit_for_bit(name, start):
    net, theta, new, vector = adapted(name, start)
    frozen, nothing = lotra.freeze(net, theta)
    assert np.array_equal(new(vector, X), frozen(nothing, X))
    assert_allclose(new(vector, X), net(theta, X), rtol=0, atol=1e-15 * np.abs(net(theta, X)).max() * 10)
    assert frozen.size == 0 and new.size < net.size


@pytest.mark.parametrize("start", STARTS)
def test_the_start_is_not_stationary(start):
    *_, new, vector = adapted("plain", start)
    assert np.abs(objectives.mse(new, X, Y)(vector)[1]).max() > 1e-6


@pytest.mark.parametrize("name", NETS)
def test_gradients_by_complex_step(name):
    *_, new, vector = adapted(name)
    vector = vector + np.random.default_rng(6).normal(0, 0.3, vector.size)
    loss = objectives.mse(new, X[:5], Y[:5])
    exact = check.complex_step(lambda theta: check.value(loss, theta), vector)
    assert check.relative(loss(vector)[1], exact) < 1e-12


def test_what_is_frozen_keeps_its_bytes():
    net, theta, new, vector = adapted("bias")
    constants = lambda: [
        term.weights.base.tobytes() if isinstance(term.weights, LoTRA) else term.weights.W.tobytes()
        for layer in new.layers
        for term in layer.terms.values()
    ]
    before = constants()
    after = optimize.lbfgs(objectives.mse(new, X, Y), vector, steps=20)
    assert after.value < 0.99 * objectives.mse(net, X, Y).value(theta)
    assert constants() == before
    with pytest.raises(ValueError, match="read-only"):
        new.layers[0].terms["spline"].weights.base[0] = 1


@pytest.mark.parametrize("name", NETS)
def test_merged_equals_adapted(name):
    *_, new, vector = adapted(name)
    vector = vector + np.random.default_rng(7).normal(0, 0.3, vector.size)
    merged, theta = lotra.merge(new, vector)
    y = new(vector, X)
    assert_allclose(merged(theta, X), y, rtol=0, atol=1e-14 * np.abs(y).max())
    assert not any(isinstance(t.weights, LoTRA | Fixed) for layer in merged.layers for t in layer.terms.values())


@pytest.mark.parametrize("kind", lotra.KINDS)
@pytest.mark.parametrize("name", NETS)
def test_unmerging_takes_the_adapters_off_again(name, kind):
    net, theta, new, vector = adapted(name, kind=kind)
    vector = vector + np.random.default_rng(7).normal(0, 0.3, vector.size)
    back, own = lotra.unmerge(*lotra.merge(new, vector), (new, vector))
    assert_allclose(back(own, X), net(theta, X), rtol=0, atol=1e-13)
    assert np.abs(new(vector, X) - net(theta, X)).max() > 1e-3


def test_unmerging_leaves_nothing_under_masks():
    *_, new, vector = adapted("pruned")
    merged, theta = lotra.merge(new, vector + 0.3)
    back, own = lotra.unmerge(merged, theta, (new, vector + 0.3))
    off = merged.layers[0].terms["spline"].weights.mask == 0
    assert off.any() and (back.split(own)["0.spline.W"][off] == 0).all()


@pytest.mark.parametrize("other", [kan([3, 5, 2], intervals=3), kan([3, 4, 2], intervals=6)], ids=["wider", "finer"])
def test_only_adapters_of_the_network_can_be_unmerged(other):
    *_, new, vector = adapted("plain")
    with pytest.raises(ValueError, match="adapters must belong to this network"):
        lotra.unmerge(other, other.init(0), (new, vector))


@pytest.mark.parametrize("name", NETS)
def test_matrix_adapters_start_merge_and_come_off_as_lotra_does(name):
    net, theta, new, vector = adapted(name, kind="matrix", ranks={0: 2, 1: 1})
    frozen, nothing = lotra.freeze(net, theta)
    assert np.array_equal(new(vector, X), frozen(nothing, X))
    shapes = {array: shape for array, (_, shape) in new.layout.items() if array.startswith("0.spline")}
    K = new.layers[0].terms["spline"].basis.size
    assert shapes == {"0.spline.left": (new.layers[0].sums, 2), "0.spline.right": (2, 3, K)}
    vector = vector + np.random.default_rng(6).normal(0, 0.3, vector.size)
    loss = objectives.mse(new, X[:5], Y[:5])
    assert check.relative(loss(vector)[1], check.complex_step(lambda theta: check.value(loss, theta), vector)) < 1e-12
    merged, own = lotra.merge(new, vector)
    assert_allclose(merged(own, X), new(vector, X), rtol=0, atol=1e-14 * np.abs(new(vector, X)).max())
    again, same = adapters.attach(net, theta, adapters.detach(new, vector))
    assert np.array_equal(again(same, X), new(vector, X))


def test_matrix_adapters_of_every_rank_reach_what_their_rank_allows():
    """The best LoRA of rank r on the unfolding leaves the tail of its singular values, as Eckart and Young say."""
    W = np.random.default_rng(0).normal(size=(4, 3, 5))
    for rank in range(1, 5):
        kind = LowRank(W.shape, rank)
        left = np.linalg.norm(kind.tensor(kind.start(W)) - W)
        assert_allclose(left, np.sqrt((tensors.singular_values(W)[0][rank:] ** 2).sum()), atol=1e-14)


def test_matrix_adapters_know_one_start_and_whole_ranks():
    with pytest.raises(ValueError, match='kind="matrix" begins with start="output"'):
        adapted("plain", "core", kind="matrix")
    with pytest.raises(ValueError, match='kind="matrix" must be at least 1'):
        adapted("plain", kind="matrix", ranks=0)
    with pytest.raises(ValueError, match="rank must be"):
        LowRank((2, 3, 4), 3)


@pytest.mark.parametrize("kind", lotra.KINDS)
@pytest.mark.parametrize("name", ["plain", "pruned", "products, affine"])
def test_refined_adapters_keep_the_function(name, kind):
    *_, new, vector = adapted(name, kind=kind)
    vector = vector + np.random.default_rng(8).normal(0, 0.3, vector.size)
    fine, theta = grids.refine(new, vector)
    assert_allclose(fine(theta, X), new(vector, X), rtol=0, atol=1e-13)
    assert isinstance(lotra.unmasked(fine.layers[0].terms["spline"].weights), LoTRA)


@pytest.mark.parametrize("name", ["heat", "allen_cahn", "poisson_jump"])
def test_adapters_under_trial_functions(name):
    """A differential equation with conditions built in: nothing changes at the start, gradients and Jacobians are right."""
    problem = PROBLEMS[name]()
    net = kan([problem.inputs or 2, 3, 1], intervals=2, degree=4, outside="linear", base=None, normalise="tanh")
    net, theta = grids.refine(net, net.init(0))
    new, vector = lotra.adapt(net, theta, 2)
    x = problem.points({"equation": 6}, "random")["equation"]
    assert_allclose(problem.residual(new, vector, x, True), problem.residual(net, theta, x, True), rtol=0, atol=1e-10)
    vector = vector + np.random.default_rng(1).normal(0, 0.1, vector.size)
    loss = problem.objective(new, {"equation": x}, hard=True)
    r, J = loss.residuals(vector)
    value, gradient = loss(vector)
    assert_allclose(2 * J.T @ r, gradient, rtol=0, atol=1e-11 * np.abs(gradient).max())
    assert_allclose(r @ r, value, rtol=1e-12)
    check.check_objective(loss, vector, np.random.default_rng(2))


def test_the_gradient_start_steps_along_the_truncated_gradient():
    """From core = 0 a step of -eta on the core moves W by -eta times the HOSVD-truncated gradient."""
    net, theta, new, vector = adapted("plain", "gradient", ranks=(2, 2, 3))
    slope = net.split(objectives.mse(net, X, Y)(theta)[1])["0.spline.W"]
    core_bar = new.split(objectives.mse(new, X, Y)(vector)[1])["0.spline.core"]
    moved = {"core": -core_bar, **{f: new.split(vector)[f"0.spline.{f}"] for f in ("U_out", "U_in", "U_basis")}}
    truncated = tensors.tucker(*tensors.hosvd(np.ascontiguousarray(slope), (2, 2, 3)))
    step = new.layers[0].terms["spline"].weights.adapter.tensor(moved)
    assert_allclose(step, -truncated, rtol=0, atol=1e-14 * np.abs(slope).max() * 10)


# ------------------------------------------------------------------------------------------------------------- adapters


@pytest.mark.parametrize("name", NETS)
def test_adapters_come_off_and_on(name, tmp_path):
    net, theta, new, vector = adapted(name, scale=0.5)
    vector = vector + np.random.default_rng(9).normal(0, 0.3, vector.size)
    adapter = replace(adapters.detach(new, vector), about={"task": "a test", "n": 1})
    adapters.save_adapter(tmp_path / "a.safetensors", adapter)
    kept = adapters.load_adapter(tmp_path / "a.safetensors")
    assert (kept.about, kept.base) == (adapter.about, adapter.base)
    again, theta_again = adapters.attach(net, theta, kept)
    assert np.array_equal(theta_again, vector)
    assert np.array_equal(again(theta_again, X), new(vector, X))
    assert adapter.size == vector.size
    other = theta.copy()
    other[0] = np.nextafter(other[0], 9)
    with pytest.raises(ValueError, match="made for another network"):
        adapters.attach(net, other, adapter)


def test_files_that_are_no_adapters(tmp_path):
    net, theta, new, vector = adapted("plain")
    path = tmp_path / "model.safetensors"
    save_network(path, net, theta)
    with pytest.raises(FileError, match="but no kanref adapter"):
        adapters.load_adapter(path)
    adapters.save_adapter(path, adapters.detach(new, vector))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(FileError, match="check sum"):
        adapters.load_adapter(path)
    path.write_bytes(b"nothing")
    with pytest.raises(FileError, match="damaged or no safetensors"):
        adapters.load_adapter(path)
    with pytest.raises(FileNotFoundError):
        adapters.load_adapter(tmp_path / "none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors"]


def test_several_adapters_on_one_base():
    net, theta = NETS["bias"]()
    fits = []
    for seed in (0, 1):
        new, vector = lotra.adapt(net, theta, 2, seed=seed)
        fit = optimize.lbfgs(objectives.mse(new, X, Y[:, ::-1] if seed else Y), vector, steps=10)
        fits.append((new, fit.theta, adapters.detach(new, fit.theta)))
    for new, vector, adapter in reversed(fits):
        again, own = adapters.attach(net, theta, adapter)
        assert np.array_equal(again(own, X), new(vector, X))


def test_adapters_on_adapters():
    """Each stands on what it was made for: a second one on base and first together, which are no base of the first."""
    net, theta = NETS["bias"]()
    first, one = lotra.adapt(net, theta, 2)
    second, two = lotra.adapt(first, one + 0.1, 2, seed=1)
    again, own = adapters.attach(first, one + 0.1, adapters.detach(second, two + 0.1))
    assert np.array_equal(again(own, X), second(two + 0.1, X))
    with pytest.raises(ValueError, match="made for another network"):
        adapters.attach(first, one + 0.1, adapters.detach(first, one + 0.1))


@pytest.mark.parametrize("scale", [np.float64(0.5), np.float32(0.5), 2])
def test_scales_of_any_type_keep_the_precision(scale, tmp_path):
    net, theta = NETS["plain"]()
    new, vector = lotra.adapt(net, theta.astype(np.float32), 2, scale=scale)
    weights = new.layers[0].terms["spline"].weights
    arrays = {name: new.split(vector)[f"0.spline.{name}"] for name in weights.arrays}
    assert weights.tensor(arrays).dtype == np.float32
    adapters.save_adapter(tmp_path / "a", adapters.detach(new, vector))
    assert adapters.load_adapter(tmp_path / "a").parts["0.spline"][0] == scale


def test_the_gradient_start_sees_through_masks_of_any_value():
    """Masks with 2 on some edges, and half the weights there: the same function of the same tensors, so the same factors."""
    net, theta = NETS["pruned"]()
    layer, W = net.layers[0], net.split(theta)["0.spline.W"]
    spline = layer.terms["spline"]
    mask = spline.weights.mask * np.array([2.0, 1.0, 1.0])
    doubled = Masked(spline.weights.inner, mask)
    other, own = replace(layer, terms=layer.terms | {"spline": Linear(spline.basis, doubled)}), theta.copy()
    other = replace(net, layers=(other, *net.layers[1:]))
    other.split(own)["0.spline.W"][:] = doubled.start(W * spline.weights.mask[:, :, None])["W"]
    assert_allclose(other(own, X), net(theta, X), rtol=0, atol=1e-15)
    found = []
    for n, t in ((net, theta), (other, own)):
        new, vector = lotra.adapt(n, t, 2, start="gradient", gradient=objectives.mse(n, X, Y)(t)[1])
        found.append(np.abs(vector))  # singular vectors have a sign
    assert_allclose(*found, rtol=0, atol=1e-12)


# ----------------------------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize("factor", ["core", "U_out", "U_in", "U_basis"])
@pytest.mark.parametrize(
    ("axis", "sizes"),
    [(0, (32, 128, 512)), (1, (32, 128, 512)), (2, (8, 24, 64)), (3, (2, 4, 8)), (4, (2, 4, 8)), (5, (2, 4, 8))],
    ids=["out", "in", "basis", "r_out", "r_in", "r_basis"],
)
def test_shares_undo_the_measured_growth_of_a_sign_step(factor, axis, sizes):
    """The change of a layer's outputs by one sign step of one factor, times its share of the rate, does not grow.

    Measured as in the reconstruction: four samples, medians over seeds; the exponent of a size of the layer is within 1/4 of
    0, that of a rank, of which there are few, within 2/5.
    """
    changes = []
    for size in sizes:
        numbers = [32, 32, 16, 2, 2, 2]
        numbers[axis] = size
        shape, ranks = tuple(numbers[:3]), tuple(numbers[3:])
        share = lotra.factor_shares(shape, ranks, True)[factor]
        changes.append(share * np.median([sign_step(shape, ranks, factor, seed) for seed in range(16)]))
    exponent = np.polyfit(np.log(sizes), np.log(changes), 1)[0]
    assert abs(exponent) < (0.25 if axis < 3 else 0.4)


def sign_step(shape, ranks, factor, seed):
    """Mean |change of outputs| of a layer by one unit sign step of one factor at a random residual."""
    (Q, P, K), (r_out, r_in, r_basis) = shape, ranks
    rng = np.random.default_rng(seed)
    basis = BSpline.uniform(P, K - 3, 3)
    arrays = {"core": rng.normal(0, (r_in * r_basis) ** -0.5, ranks), "U_out": rng.normal(0, r_out**-0.5, (Q, r_out))}
    arrays |= {"U_in": rng.normal(0, P**-0.5, (P, r_in)), "U_basis": rng.normal(size=(K, r_basis))}
    term, z = Linear(basis, Tucker(shape, ranks)), rng.uniform(-1, 1, (1, 4, P))
    bar, _ = term.pullback(arrays, z, rng.normal(size=(1, 4, r_out)) @ arrays["U_out"].T, inputs=False)
    moved = {**arrays, factor: arrays[factor] - np.sign(bar[factor])}
    return np.abs(term.forward(moved, z) - term.forward(arrays, z)).mean()


@pytest.mark.parametrize(("method", "power"), [("adam", 1), ("descent", 2)])
def test_rates_undo_the_scale_of_adapters(method, power):
    """A step of descent or of signs then moves the outputs as with scale 1."""
    one, three = (adapted("plain", scale=scale)[2] for scale in (1.0, -3.0))
    assert_allclose(lotra.rates(three, 0.1, method) * 3**power, lotra.rates(one, 0.1, method), rtol=1e-14)


def test_rates_are_spread_over_theta():
    *_, new, vector = adapted("bias", ranks={0: (2, 2, 3), 1: 1})
    views = new.split(lotra.rates(new, 0.1))
    assert views["0.spline.core"][0, 0, 0] == pytest.approx(0.1 / 6)
    assert views["0.spline.U_out"][0, 0] == pytest.approx(0.1 / 2)
    assert views["0.spline.U_in"][0, 0] == pytest.approx(0.1 * lotra.RATIO / (3 * 2**0.5))
    assert views["0.spline.U_basis"][0, 0] == pytest.approx(0.1 * lotra.RATIO / (6 * 3) ** 0.5)
    assert (views["1.spline.core"] == 0.1).all() and (views["1.spline.U_out"] == 0.1).all()
    some = adapted("plain", ranks={1: 2})[2]  # the other layers stay frozen
    assert isinstance(some.layers[0].terms["spline"].weights, Fixed) and list(some.layout)[0] == "1.spline.core"
    plain = kan([3, 4, 2])
    assert (lotra.rates(plain, 0.1) == 0.1).all()
    descent = new.split(lotra.rates(new, 1.0, "descent", ratio=1))
    assert descent["0.spline.core"][0, 0, 0] == 1 / 24 and descent["0.spline.U_in"][0, 0] == 1 / 12
    assert descent["0.spline.U_out"][0, 0] == 1 / 2 and descent["0.spline.U_basis"][0, 0] == 1 / 4


def symbolic_layer():
    layer = {**spline_layer(3, 2, BSpline.uniform(3, 3, 3)).terms, "symbolic": Symbolic((2, 3), ((0, 0, LIBRARY["sin"]),))}
    return KAN((Layer(layer, nodes=Nodes((1, 1))),))


@pytest.mark.parametrize(
    ("build", "kind", "message"),
    [
        (lambda n, t: lotra.adapt(n, t, 2, start="B"), ValueError, "start must be one of 'output', 'core', 'gradient'"),
        (lambda n, t: lotra.adapt(n, t, 2, start="gradient"), ValueError, "gradient must be given"),
        (lambda n, t: lotra.adapt(n, t, 2, gradient=t), ValueError, "and only then"),
        (lambda n, t: lotra.adapt(n, t, 2, terms=("splines",)), ValueError, "no layer has terms named splines"),
        (lambda n, t: lotra.adapt(n, t, (9, 1, 1)), ValueError, "ranks must be from 1 to the sizes"),
        (lambda n, t: lotra.adapt(n, t, {0: 2}, layers=[0, 1]), ValueError, r"ranks name the layers \[0\], but layers has \[1\]"),
        (lambda n, t: lotra.adapt(n, t, 2, layers=[2]), ValueError, "an entry of layers must be from 0 to 1, but it is 2"),
        (lambda n, t: lotra.freeze(s := symbolic_layer(), s.init(0)), TypeError, "'symbolic' of type Symbolic, which cannot"),
        (lambda n, t: adapters.detach(n, t), ValueError, "the network has no adapters"),
        (lambda n, t: lotra.rates(n, 1.0, "sgd"), ValueError, "method must be one of 'adam', 'descent'"),
        (lambda n, t: lotra.rates(n, -0.1), ValueError, "rate must be positive and finite, but it is -0.1"),
        (lambda n, t: lotra.rates(n, 0), ValueError, "rate must be positive and finite, but it is 0"),
        (lambda n, t: lotra.rates(n, 0.1, ratio=0), ValueError, "ratio must be positive and finite, but it is 0"),
        (lambda n, t: lotra.adapt(n, t, 2.7), TypeError, "ranks must be integers, but they are 2.7"),
        (lambda n, t: lotra.adapt(n, t, 2, terms="base spline"), ValueError, "no layer has terms named base spline;"),
    ],
)
def test_bad_input(build, kind, message):
    with pytest.raises(kind, match=message):
        build(*NETS["plain"]())


def test_a_text_is_the_name_of_one_term():
    """Not a text in which names are looked for."""
    net, theta = NETS["plain"]()
    net = replace(net, layers=tuple(replace(layer, terms={"s": layer.terms["spline"]}) for layer in net.layers))
    theta = net.init(0)
    with pytest.raises(ValueError, match="no layer has terms named spline;"):
        lotra.adapt(net, theta, 2, terms="spline")
    assert lotra.adapt(net, theta, 2, terms="s")[0].layout == lotra.adapt(net, theta, 2, terms=("s",))[0].layout


def test_bases_of_one_function_are_adapted_on_request():
    """The base branch as an adapter of rank (r, r, 1)."""
    net, theta, new, vector = adapted("plain", terms=("base", "spline"))
    assert new.layers[0].terms["base"].basis is bases.silu
    assert new.split(vector)["0.base.U_basis"].shape == (1, 1)
