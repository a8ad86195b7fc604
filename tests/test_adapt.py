"""`kanref.adapt`: adapters for new parameters, from coarse to fine; their files; what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import adapt as module
from kanref import adapters, io, lotra, solve
from kanref.adapt import adapt, load, prepare
from kanref.network import kan
from kanref.pde.problem import Part, Problem, dirichlet
from kanref.solve import make
from kanref.sparsify import masked
from kanref.weights import Fixed, Full, LoTRA, Masked

POINTS = {"equation": 144}
SMALL = {"widths": (2, 4, 1), "intervals": 4, "degree": 3, "levels": 2, "steps": (60, 10), "points": POINTS}
QUICK = {"steps": 5, "points": POINTS}
heat = lambda diffusivity: make("heat", {"diffusivity": diffusivity})


@pytest.fixture(scope="module")
def base():
    return solve.solve(heat(0.02), **SMALL)


@pytest.fixture(scope="module")
def adapted(base):
    return adapt(base, heat(0.03), **QUICK)


@pytest.fixture(scope="module")
def folder(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    base.write(folder)
    return folder


@pytest.fixture(scope="module")
def written(adapted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapted") / "new"
    return folder, adapted.write(folder)


# ---------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(("method", "gain"), [("lm", 0.3), ("adam", 0.6), ("full", 0.2)])
def test_every_method_lowers_the_error(base, method, gain):
    done = adapt(base, heat(0.03), method=method, **{**QUICK, "steps": 60 if method == "adam" else 8})
    task, last = done.task, done.solved.levels[-1]
    assert task.own[0] < task.before[0]
    assert done.errors[0] < gain * task.before[0]
    assert [level.intervals for level in done.solved.levels] == [4, 8]
    assert last.loss < done.solved.levels[0].loss
    assert last.net.size == task.size == (base.net.size if method == "full" else done.adapter.size)


def test_the_errors_are_those_of_the_function(base, adapted):
    problem, x = adapted.solved.problem, adapted.solved.problem.mesh(101)
    e = adapted(x) - problem.reference(x)
    assert_allclose(adapted.errors, [np.linalg.norm(e) / np.linalg.norm(problem.reference(x)), np.abs(e).max()], rtol=1e-9)
    assert_allclose(adapted.task.before, problem.errors(base.net, base.theta, hard=True), rtol=1e-14)
    assert_allclose(adapted.task.own, [base.levels[-1].L2, base.levels[-1].largest], rtol=1e-14)


def test_corrections_beside_adapters_on_and_merged_are_one_function(adapted):
    """While it is trained, as LoTRA on the base, and as an ordinary network."""
    last, solved, x = adapted.solved.levels[-1], adapted.solved, np.random.default_rng(0).uniform(-1, 1, (50, 2))
    frozen = lotra.freeze(*adapted.task.base[1:3])[0]
    beside = module._beside(frozen, last.net)(last.theta, x)
    assert_allclose(adapted.net(adapted.theta, x), beside, rtol=0, atol=1e-13 * np.abs(beside).max())
    assert_allclose(solved.net(solved.theta, x), beside, rtol=0, atol=1e-13 * np.abs(beside).max())
    assert all(isinstance(layer.terms["spline"].weights, LoTRA) for layer in adapted.net.layers)
    assert all(isinstance(layer.terms["spline"].weights, Full) for layer in solved.net.layers)


def test_ranks_are_those_of_the_change(base, adapted):
    """Cut to the modes: of the first layer at most 2 along the inputs, of the last one 1 along the output."""
    assert adapted.task.ranks == {0: (4, 2, 4), 1: (1, 4, 4)}
    before, after = (net.split(theta) for net, theta in ((base.net, base.theta), (adapted.solved.net, adapted.solved.theta)))
    for l, ranks in adapted.task.ranks.items():
        change = np.ascontiguousarray(after[f"{l}.spline.W"] - before[f"{l}.spline.W"])
        for mode, rank in enumerate(ranks):
            s = np.linalg.svd(np.moveaxis(change, mode, 0).reshape(change.shape[mode], -1), compute_uv=False)
            assert s[rank - 1] > 1e-9 * s[0] and (s[rank:] < 1e-12 * s[0]).all()


def test_the_start_changes_nothing(base):
    task = prepare(base, heat(0.03), **QUICK)
    frozen = lotra.freeze(base.net, base.theta)[0]
    loss = lambda net: task.problem.objective(module._beside(frozen, net), task.problem.points(POINTS, "sobol"), True)
    x = task.problem.mesh(9)
    for method in ("lm", "full"):
        net, theta = replace(task, method=method).start(loss)
        assert_allclose(module._beside(frozen, net)(theta, x), base.net(base.theta, x), rtol=0, atol=1e-15)
        assert {layer.terms["spline"].basis.intervals for layer in net.layers} == {4}
        assert np.abs(loss(net)(theta)[1]).max() > 0


@pytest.mark.parametrize("method", ["lm", "full"])
def test_layers_that_are_not_chosen_stay(base, method):
    done = adapt(base, heat(0.03), method=method, layers=[1], **QUICK)
    before, after = base.net.split(base.theta), done.solved.net.split(done.solved.theta)
    assert_array_equal(after["0.spline.W"], before["0.spline.W"])
    assert not np.array_equal(after["1.spline.W"], before["1.spline.W"])
    assert done.errors[0] < done.task.before[0]
    if method == "lm":
        assert isinstance(done.net.layers[0].terms["spline"].weights, Fixed) and list(done.adapter.parts) == ["1.spline"]


def test_the_same_seed_gives_the_same_bits(base, adapted):
    assert_array_equal(adapt(base, heat(0.03), **QUICK).theta, adapted.theta)
    assert not np.array_equal(adapt(base, heat(0.03), seed=1, **QUICK).theta, adapted.theta)


def test_adapted_networks_are_adapted_again(adapted):
    again = adapt(adapted, heat(0.035), **QUICK)
    assert again.task.own == pytest.approx(adapted.errors, rel=1e-9)
    assert again.errors[0] < again.task.before[0]


def test_another_problem_with_the_same_coordinates(base):
    """From the heat equation to Burgers', both on [-1, 1] x [0, 1], conditions built in."""
    done = adapt(base, make("burgers", {"nu": 0.3}), **QUICK)
    assert done.errors[0] < 0.2 * done.task.before[0]


@pytest.mark.parametrize("method", ["lm", "full"])
def test_pruned_networks_stay_pruned(base, method):
    net, theta = masked(base.net, base.theta, [[0, 1], [0, 2, 3], [0]])[:2]
    done = adapt((base.problem, net, theta, True), heat(0.03), method=method, **QUICK)
    for layer, own in zip(done.solved.net.layers, net.layers):
        weights, mask = layer.terms["spline"].weights, own.terms["spline"].weights.mask
        assert isinstance(weights, Masked) and (mask == 0).any()
        assert_array_equal(weights.mask, mask)
    assert done.errors[0] < done.task.before[0]


@pytest.mark.parametrize(
    ("name", "near", "widths"),
    [
        ("poisson_jump", {"ratio": 3}, (3, 3, 1)),
        ("reaction_diffusion", {"reaction": 4.0}, (3, 3, 1)),
        ("allen_cahn", {"diffusion": 0.02}, (2, 3, 1)),
        ("helmholtz", {"wave_number": 1.5}, (2, 3, 1)),
        ("poisson", {"power": 1}, (2, 3, 1)),
    ],
)
def test_trial_functions_of_every_kind(name, near, widths):
    """Embeddings, level sets, interfaces, offsets; hard conditions that depend on the parameters."""
    first = make(name, {"wave_number": 1.0} if name == "helmholtz" else {"diffusion": 0.03} if name == "allen_cahn" else {})
    points = {part.name: 64 for part in first.parts}
    solved = solve.solve(first, **{**SMALL, "widths": widths, "points": points, "levels": 1, "steps": (30, 5)})
    done = adapt(solved, make(name, near), steps=5, points=points)
    loss = make(name, near).objective
    places = make(name, near).points(points, "sobol")
    before, after = (loss(net, places, True).value(theta) for net, theta in ((solved.net, solved.theta), (done.net, done.theta)))
    assert after < 0.9 * before


def test_conditions_in_the_loss(base):
    points = {"equation": 144, "initial": 30, "boundary": 30}
    soft = solve.solve(heat(0.02), **{**SMALL, "points": points}, hard=False)
    done = adapt(soft, heat(0.03), steps=5, points=points)
    assert not done.solved.hard and done.errors[0] < done.task.before[0]


def own(slope):
    equation = lambda x, u, u_i, u_ij: (u_ij[:, 0, 0, 0] + slope, (None, None, np.ones_like(u_ij)))
    parts = Part("equation", equation, ((0, 0),)), Part("sides", dirichlet(), face=({0: -1.0}, {0: 1.0}))
    reference = lambda x: slope / 2 * (1 - x[:, 0] ** 2)
    return Problem("mine", "u'' = -f", {}, ("x",), ((-1.0, 1.0),), parts, reference, soft=())


def test_a_problem_of_your_own(tmp_path):
    points = {"equation": 20, "sides": 2}
    solved = solve.solve(own(2.0), points=points, widths=(1, 2, 1), levels=1, steps=(20, 10))
    done = adapt(solved, own(3.0), points=points)
    assert done.errors[1] < 1e-3 < done.task.before[1]
    assert sorted(path.name for path in done.write(tmp_path)) == ["adapter.safetensors", "model.safetensors"]
    with pytest.raises(ValueError, match="points must say how many there are for the parts equation, sides"):
        adapt(solved, own(3.0))
    solve.solve(heat(0.02), **{**SMALL, "steps": (1, 1)}).write(tmp_path / "heat")
    with pytest.raises(io.FileError, match="adapter for the problem mine of your own; use kanref.adapters.load_adapter"):
        load(tmp_path / "heat", tmp_path)


# ------------------------------------------------------------------------------------------------------ how it ends


def test_time_is_up(base):
    """On a coarse grid: what there is moves to the base's grid."""
    late = adapt(base, heat(0.03), minutes=1e-9, **QUICK)
    assert late.verdict().endswith("seconds; the minutes were used up") and len(late.solved.levels) == 1
    assert late.net.layers[0].terms["spline"].basis.intervals == 8
    x = late.solved.problem.mesh(9)
    assert_allclose(late.net(late.theta, x), base.net(base.theta, x), rtol=0, atol=1e-14)


def test_an_interrupt_keeps_the_best_so_far(base, monkeypatch):
    looks = iter([0.5] * 4)

    def error(self, net, theta):
        try:
            return next(looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(solve.Watch, "_error", error)
    monkeypatch.setattr(solve, "LOOKS", np.inf)
    ended = adapt(base, heat(0.03), **QUICK)
    assert ended.interrupted and ended.verdict().endswith("interrupted")
    assert len(ended.solved.levels) == 1 and ended.solved.levels[0].steps == 4
    assert ended.errors[0] < ended.task.before[0]


def test_the_verdict_says_what_would_go_further(adapted):
    last = lambda L2: (*adapted.solved.levels[:-1], replace(adapted.solved.levels[-1], L2=L2))
    said = lambda L2, **task: replace(
        adapted, solved=replace(adapted.solved, levels=last(L2)), task=replace(adapted.task, own=(1e-4, 1e-4), **task)
    ).verdict()
    assert "2.00e-04 after" in said(2e-4) and said(2e-4).endswith("seconds")
    assert "; the base has 1.00e-04 on its own problem: larger ranks, all weights (full), or solving anew may" in said(2e-3)
    assert said(2e-3, method="full").endswith(": more steps, or solving anew may come nearer")
    assert said(0.5).endswith("; not solved: the equations differ too much, solve the new one by itself")


def test_the_heading_says_what_is_adapted(base, adapted):
    lines = adapted.task.heading().splitlines()
    assert lines[0].startswith("base        heat with diffusivity = 0.02: relative L2 error ")
    assert lines[2] == "parameters  diffusivity = 0.03"
    assert lines[3].startswith(f"unchanged   relative L2 error {adapted.task.before[0]:.2e}, largest error")
    share = f"{adapted.adapter.size} of {base.net.size} numbers, {adapted.adapter.size / base.net.size:.0%}"
    assert lines[4] == f"trained     adapters of ranks (4, 2, 4); (1, 4, 4) on layers 0, 1: {share}"
    assert lines[5] == "steps       5 of Levenberg-Marquardt on every grid: 4, 8 intervals"
    full = prepare(base, heat(0.03), method="full").heading()
    assert f"all weights of the splines on layers 0, 1: {base.net.size} of {base.net.size} numbers, 100%" in full


def test_the_table_has_a_line_for_each_grid(adapted):
    lines = adapted.table().splitlines()
    assert [line.split()[0] for line in lines] == ["intervals", "4", "8"]
    assert lines[2].split()[1] == str(adapted.adapter.size)


def test_the_bar_shows_loss_and_error(base, capsys):
    adapt(base, heat(0.03), progress=True, **QUICK)
    shown = capsys.readouterr().err
    assert "4 intervals" in shown and "8 intervals" in shown and "5/5 steps" in shown and "error=" in shown


# ------------------------------------------------------------------------------------------------------------- files


def test_files_and_back(folder, adapted, written):
    new, files = written
    assert [path.name for path in files] == ["adapter.safetensors", "model.safetensors", "fields.png"]
    assert sorted(path.name for path in new.iterdir()) == sorted(path.name for path in files)
    x = adapted.solved.problem.mesh(7)
    for problem, net, theta, hard in (load(folder, new), solve.load(new)):
        assert problem.parameters == {"diffusivity": 0.03} and hard
        assert_allclose(problem.function(net, hard)(theta, x)[:, 0], adapted(x), rtol=0, atol=1e-14)
    assert_array_equal(load(folder / "model.safetensors", new / "adapter.safetensors")[2], adapted.theta)


def test_full_writes_no_adapter(base, tmp_path):
    done = adapt(base, heat(0.03), method="full", **QUICK)
    assert done.adapter is None
    assert [path.name for path in done.write(tmp_path)] == ["model.safetensors", "fields.png"]


def test_several_adapters_on_one_base(base, folder, adapted, tmp_path):
    several = {0.03: adapted} | {D: adapt(folder, heat(D), **QUICK) for D in (0.015, 0.025)}
    for D, done in several.items():
        adapters.save_adapter(tmp_path / f"{D}.safetensors", done.adapter)
    for D, done in reversed(several.items()):
        problem, net, theta, _ = load(folder, tmp_path / f"{D}.safetensors")
        assert problem.parameters == {"diffusivity": D}
        assert_array_equal(net(theta, np.eye(2)), done.net(done.theta, np.eye(2)))
        for layer, old in zip(net.layers, base.net.split(base.theta).values()):
            assert_array_equal(layer.terms["spline"].weights.base, old)


def test_an_adapter_on_another_base_is_refused(written):
    """The merged network is not the base."""
    with pytest.raises(ValueError, match="adapter.safetensors does not belong to .*: the adapter was made for another network"):
        load(written[0], written[0])


def test_files_that_cannot_be_used(folder, base, adapted, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no model file .*none"):
        adapt(tmp_path / "none", heat(0.03))
    with pytest.raises(FileNotFoundError, match="there is no model file .*model.safetensors"):
        adapt(tmp_path, heat(0.03))
    with pytest.raises(FileNotFoundError, match="there is no adapter file .*adapter.safetensors"):
        load(folder, folder)
    net = kan([2, 1])
    io.save_network(tmp_path / "a.safetensors", net, net.init(0))
    with pytest.raises(io.FileError, match="solves no problem"):
        adapt(tmp_path / "a.safetensors", heat(0.03))
    with pytest.raises(io.FileError, match="no kanref adapter"):
        load(folder, tmp_path / "a.safetensors")
    adapters.save_adapter(tmp_path / "b.safetensors", replace(adapted.adapter, about={}))
    with pytest.raises(io.FileError, match="holds an adapter for no problem; use kanref.adapters.load_adapter"):
        load(folder, tmp_path / "b.safetensors")


@pytest.mark.parametrize(
    ("problem", "change", "message"),
    [
        (heat(0.02), {}, "the base solves heat with diffusivity = 0.02 already; give a parameter another value"),
        (make("poisson"), {}, r"cannot be adapted, as heat has 2 inputs from x, t on .*, but poisson has 2 inputs from x, y"),
        (make("allen_cahn"), {}, "what the networks are given of the coordinates must agree, too; solve allen_cahn by itself"),
        (make("reaction_diffusion"), {}, "heat has 2 inputs from x, t on .*, but reaction_diffusion has 3 inputs"),
        (replace(heat(0.03), hard=None), {}, "the base has its conditions built in, but heat has no hard conditions"),
        (heat(0.03), {"ranks": 0}, "every one of ranks must be at least 1, but it is 0"),
        (heat(0.03), {"ranks": (2, 2.7, 2)}, "every one of ranks must be an integer, but it is 2.7"),
        (heat(0.03), {"ranks": (2, 2)}, r"ranks must be one number or three, \(r_out, r_in, r_basis\), but they are \(2, 2\)"),
        (heat(0.03), {"method": "full", "ranks": 2}, 'ranks bound adapters, but method "full" has none'),
        (heat(0.03), {"method": "lora"}, "method must be one of 'lm', 'adam', 'full', but it is 'lora'"),
        (heat(0.03), {"rate": 0.1}, 'rate is for method "adam", but method is "lm"'),
        (heat(0.03), {"method": "adam", "rate": 0}, "rate must be above 0, but it is 0"),
        (heat(0.03), {"layers": [2]}, "an entry of layers must be from 0 to 1, but it is 2"),
        (heat(0.03), {"layers": []}, "layers must name at least one layer"),
        (heat(0.03), {"steps": 0}, "steps must be at least 1, but it is 0"),
        (heat(0.03), {"seed": -1}, "seed must be at least 0, but it is -1"),
        (heat(0.03), {"minutes": 0}, "minutes must be above 0, but it is 0"),
        (heat(0.03), {"points": {"sides": 5}}, "counts has sides, but the parts of heat are equation, initial, boundary"),
    ],
)
def test_bad_arguments(base, problem, change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        adapt(base, problem, **{**QUICK, **change})


def test_a_term_of_the_same_name_is_not_lost(base):
    """Training puts a term named "adapter" beside those of the base."""
    layers = [replace(layer, terms={**layer.terms, "adapter": layer.terms["spline"]}) for layer in base.net.layers]
    net = replace(base.net, layers=tuple(layers))
    with pytest.raises(ValueError, match="layer 0 has a term named 'adapter', the name of the terms that adapt adds; rename it"):
        adapt((base.problem, net, net.init(0), True), heat(0.03))


def test_networks_without_splines(base):
    frozen, nothing = lotra.freeze(base.net, base.theta)
    renamed = frozen.rebuilt([replace(layer, terms={"other": layer.terms["spline"]}) for layer in frozen.layers], [{}, {}])[0]
    with pytest.raises(ValueError, match="layer 0 has no B-splines named 'spline' with fixed knots"):
        adapt((base.problem, renamed, nothing, True), heat(0.03))
