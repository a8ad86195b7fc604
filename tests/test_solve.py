"""`kanref.solve`: problems by name, training across levels, interruption, the table, the files."""

import os
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import io, plot
from kanref.network import kan
from kanref.pde import PROBLEMS
from kanref.pde.problem import Part, Problem, dirichlet
from kanref.pde.trial import Trial
from kanref.solve import PLANS, heading, load, make, network, overview, parameters_of, plan_of, solve

QUICK = {"widths": (2, 4, 1), "intervals": 2, "levels": 2, "steps": (40, 10), "points": {"equation": 144}}


@pytest.fixture(scope="module")
def heat():
    """A small run with its seconds as they are."""
    return solve(make("heat", {"diffusivity": 0.02}), **QUICK)


# ----------------------------------------------------------------------------------------------------------- problems


def test_every_problem_has_a_plan_that_fits():
    assert set(PLANS) == set(PROBLEMS)
    for name, plan in PLANS.items():
        problem = make(name)
        assert set(plan.points) == {part.name for part in problem.parts}
        net = network(problem, plan)
        x = problem.mesh(5)
        z = np.clip(x, *np.array(problem.domain).T)[None]
        seen = problem.function(net, plan.hard)
        embedded = seen._embedded(z) if isinstance(seen, Trial) else z
        mapped = net.layers[0].mapped(np.ascontiguousarray(embedded[0]))
        assert_allclose([mapped.min(), mapped.max()], [-1, 1], atol=1e-12, err_msg=name)


def test_parameters_are_read_as_numbers():
    problem = make("poisson", {"frequency": "3", "contrast": "0.5"})
    assert problem.parameters == {"frequency": 3, "power": 2, "contrast": 0.5}
    assert make("burgers", {"nu": "1e-2"}).parameters == make("burgers").parameters


@pytest.mark.parametrize(
    "arguments, message",
    (
        (("wave",), "there is no problem 'wave'; there are, with their parameters,(.|\n)*poisson +div.*frequency=1, power=2"),
        (("heat", {"nu": "1"}), "heat has no parameter 'nu'; it has diffusivity"),
        (("heat", {"diffusivity": "warm"}), "parameter diffusivity of heat must be a number, but it is 'warm'"),
        (("poisson", {"frequency": "1.5"}), "parameter frequency of poisson must be a whole number, but it is '1.5'"),
        (("poisson", {"frequency": np.inf}), "parameter frequency of poisson must be a whole number, but it is inf"),
        (("poisson", {"frequency": None}), "parameter frequency of poisson must be a whole number, but it is None"),
        (("poisson", {"frequency": 1.5}), "parameter frequency of poisson must be a whole number, but it is 1.5"),
    ),
)
def test_bad_names_and_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(*arguments)


def test_parameters_from_the_command_line():
    assert parameters_of(["nu=0.02", " rho = 3"]) == {"nu": "0.02", "rho": "3"}
    for text in ("nu", "=3", "nu="):
        with pytest.raises(ValueError, match=f"given as name=value, but it is '{text}'"):
            parameters_of([text])


def test_choices_go_into_the_plan():
    problem = make("heat")
    assert plan_of(problem) == PLANS["heat"] == plan_of(problem, widths=None, hard=None)
    chosen = plan_of(problem, widths=(2, 3, 1), hard=False)
    assert (chosen.widths, chosen.hard, chosen.steps) == ((2, 3, 1), False, PLANS["heat"].steps)


def test_the_heading_says_what_is_used():
    problem = make("heat", {"diffusivity": 0.5})
    hard, soft = (heading(problem, plan_of(problem, hard=hard, levels=2)) for hard in (True, False))
    assert "diffusivity = 0.5" in hard and "built into the network" in hard and "boundary (" not in hard
    assert "in the loss" in soft and "100 boundary (sobol)" in soft
    assert "intervals 4, 8, " in hard and f"{network(problem, PLANS['heat']).size} parameters" in hard


def test_the_overview_names_them_all():
    lines = overview().splitlines()
    assert [line.split()[0] for line in lines] == list(PROBLEMS)


# ----------------------------------------------------------------------------------------------------------- training


def test_the_error_falls_from_level_to_level(heat):
    first, last = heat.levels
    assert (first.intervals, last.intervals) == (2, 4)
    assert last.net.size > first.net.size and last.loss < first.loss
    assert last.L2 < first.L2 < 0.3 and last.L2 < 0.05
    assert (heat.net, heat.theta) == (last.net, last.theta)
    assert first.steps == 50 and last.steps == 10
    assert not heat.interrupted and not heat.late


def test_the_errors_are_those_of_the_solution(heat):
    x = heat.problem.mesh(101)
    exact = heat.problem.reference(x)
    e = heat(x) - exact
    last = heat.levels[-1]
    assert_allclose([last.L2, last.largest], [np.linalg.norm(e) / np.linalg.norm(exact), np.abs(e).max()], rtol=1e-12)


def test_the_loss_is_that_of_the_last_network(heat):
    points = heat.problem.points(QUICK["points"], "sobol", 0)
    assert_allclose(heat.problem.objective(heat.net, points, hard=True).value(heat.theta), heat.levels[-1].loss, rtol=1e-9)


def test_the_same_seed_gives_the_same_bits(heat):
    again = solve(make("heat", {"diffusivity": 0.02}), **QUICK)
    assert_array_equal(again.theta, heat.theta)
    assert not np.array_equal(solve(make("heat"), **{**QUICK, "levels": 1}, seed=1).theta, again.levels[0].theta)


def test_curves_follow_the_levels(heat):
    (label, seconds, loss, error), last = heat.curves
    assert label == f"2 intervals, {heat.levels[0].net.size} parameters"
    assert len(loss) == 52 and len(last[2]) == 11  # each run begins with its start
    assert (np.diff(np.concatenate([seconds, last[1]])) >= 0).all()
    assert loss[-1] == heat.levels[0].loss and np.isfinite(error).any()


def test_soft_conditions_are_learnt():
    points = {"equation": 144, "initial": 30, "boundary": 30}
    soft = solve(make("heat", {"diffusivity": 0.02}), **{**QUICK, "points": points}, hard=False)
    assert soft.levels[-1].L2 < 0.1 and not soft.hard
    x = soft.problem.points({"boundary": 20})["boundary"]
    assert 0 < np.abs(soft(x)).max() < 0.2


def own(hard):
    equation = lambda x, u, u_i, u_ij: (u_ij[:, 0, 0, 0] + 2, (None, None, np.ones_like(u_ij)))
    parts = Part("equation", equation, ((0, 0),)), Part("sides", dirichlet(), face=({0: -1.0}, {0: 1.0}))
    return Problem("mine", "u'' = -2", {}, ("x",), ((-1.0, 1.0),), parts, lambda x: 1 - x[:, 0] ** 2, hard=hard, soft=())


def test_a_problem_of_your_own():
    solved = solve(own(None), points={"equation": 20, "sides": 2}, widths=(1, 2, 1), levels=1, steps=(20, 10))
    assert solved.levels[-1].largest < 1e-3 and not solved.hard


def test_time_is_up(heat):
    late = solve(make("heat"), **QUICK, minutes=1e-9)
    assert late.late and not late.interrupted and late.verdict().endswith("seconds; the minutes were used up")
    assert len(late.levels) == 1 and late.levels[0].steps == 0


class Interrupts:
    """A reference that ends everything the n-th time it is looked at, as Ctrl-C does."""

    def __init__(self, after):
        self.left = after

    def __call__(self, net, theta):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return 0.5


def test_an_interrupt_keeps_the_best_so_far(monkeypatch):
    from kanref import solve as module

    look = Interrupts(6)
    monkeypatch.setattr(module.Watch, "_error", lambda self, net, theta: look(net, theta))
    monkeypatch.setattr(module, "LOOKS", np.inf)
    ended = solve(make("heat"), **QUICK)
    assert ended.interrupted and not ended.late
    assert len(ended.levels) == 1 and ended.levels[0].steps == 5
    begin = ended.curves[0][2]
    assert ended.levels[0].loss < begin[0]
    assert "intervals" in ended.table() and ended.verdict().endswith("interrupted")


@pytest.mark.parametrize("after, levels", ((1, 1), (53, 2)))
def test_an_interrupt_at_the_first_look_at_a_level_can_be_drawn(after, levels, monkeypatch):
    from kanref import solve as module

    look = Interrupts(after)
    monkeypatch.setattr(module.Watch, "_error", lambda self, net, theta: look(net, theta))
    monkeypatch.setattr(module, "LOOKS", np.inf)
    ended = solve(make("heat"), **QUICK)
    assert ended.interrupted and len(ended.levels) == levels and len(ended.curves) == levels - 1
    titles = [ax.get_title() for ax in _axes(ended.plot())]
    assert ("loss" in titles) == (levels > 1)


def test_an_interrupt_before_the_first_step_passes(monkeypatch):
    def evaluate(self, theta):
        raise KeyboardInterrupt

    from kanref.objectives import WeightedSum

    monkeypatch.setattr(WeightedSum, "__call__", evaluate)
    with pytest.raises(KeyboardInterrupt):
        solve(make("heat"), **QUICK)


@pytest.mark.parametrize(
    "change, message",
    (
        ({"widths": (3, 3, 1)}, "widths must begin with 2.*for heat, and end with 1, but they are 3, 3, 1"),
        ({"widths": (2, 3, 2)}, "end with 1"),
        ({"levels": 0}, "levels must be from 1 to 12, but it is 0"),
        ({"intervals": 0}, "intervals must be at least 1"),
        ({"steps": (5,)}, "steps must be two numbers, of L-BFGS and of Levenberg-Marquardt"),
        ({"degree": 1}, "degree must be at least 2, as heat has second derivatives, but it is 1"),
        ({"hard": False}, "points must say how many there are for initial, boundary too, which heat needs"),
        ({"minutes": 0}, "minutes must be above 0, but it is 0"),
        ({"points": {"sides": 5}}, "counts has sides, but the parts of heat are equation, initial, boundary"),
        ({"seed": -1}, "seed"),
    ),
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        solve(make("heat"), **{**QUICK, **change})


def test_what_a_problem_of_your_own_needs():
    with pytest.raises(ValueError, match="points must say how many there are for the parts equation, sides"):
        solve(own(None))
    with pytest.raises(ValueError, match="mine has no hard conditions; leave hard=False"):
        solve(own(None), points={"equation": 3}, widths=(1, 1), hard=True)


def test_the_bar_shows_loss_and_error(capsys):
    solve(make("heat"), **QUICK, progress=True)
    shown = capsys.readouterr().err
    assert "2 intervals" in shown and "4 intervals" in shown and "50/50 steps" in shown
    assert "loss=" in shown and "error=" in shown


# ------------------------------------------------------------------------------------------------- table, figure, files


def test_the_table_has_a_line_for_each_level(heat):
    lines = heat.table().splitlines()
    assert len(lines) == 3 and lines[0].split()[:2] == ["intervals", "parameters"]
    last = lines[2].split()
    reached = heat.levels[-1]
    assert last[:2] == ["4", str(heat.net.size)] and last[-2:] == [f"{reached.L2:.2e}", f"{reached.largest:.2e}"]


def test_an_error_that_is_no_solution_is_called_so(heat):
    poor = replace(heat, levels=(*heat.levels[:-1], replace(heat.levels[-1], L2=0.9)))
    assert "; not solved: try more levels" in poor.verdict() and "not solved" not in heat.verdict()


def test_the_verdict(heat):
    said = heat.verdict()
    assert said.startswith(f"relative L2 error {heat.levels[-1].L2:.2e}, largest error") and said.endswith("seconds")


def test_files_and_back(heat, tmp_path):
    written = heat.write(tmp_path / "new")
    assert sorted(path.name for path in written) == ["fields.png", "model.safetensors"]
    assert len(os.listdir(tmp_path / "new")) == 2
    assert (tmp_path / "new" / "fields.png").stat().st_size > 30_000
    problem, net, theta, hard = load(tmp_path / "new" / "model.safetensors")
    assert problem.parameters == {"diffusivity": 0.02} and hard
    x = problem.mesh(7)
    assert_array_equal(problem.function(net, hard)(theta, x)[:, 0], heat(x))


def test_files_of_a_problem_of_your_own(tmp_path):
    """One coordinate is not drawn, and nobody can make the problem again but who wrote it."""
    solved = solve(own(None), points={"equation": 20, "sides": 2}, widths=(1, 2, 1), levels=1, steps=(9, 1))
    assert [path.name for path in solved.write(tmp_path)] == ["model.safetensors"]
    with pytest.raises(io.FileError, match="solves the problem mine of your own; use kanref.io.load_network"):
        load(tmp_path / "model.safetensors")
    net, theta, extra = io.load_network(tmp_path / "model.safetensors")
    assert_array_equal(solved.problem.function(net, extra["hard"])(theta, np.eye(1))[:, 0], solved(np.eye(1)))


def test_a_file_that_solves_nothing(tmp_path):
    net = kan([2, 1])
    io.save_network(tmp_path / "a.safetensors", net, net.init(0))
    with pytest.raises(io.FileError, match="solves no problem; use kanref.io.load_network"):
        load(tmp_path / "a.safetensors")


def test_the_figure_shows_what_it_says(heat):
    figure = heat.plot()
    axes = [ax for ax in _axes(figure) if ax.get_title()]
    titles = [ax.get_title() for ax in axes]
    last = heat.levels[-1]
    assert titles == ["network", "reference", f"error, relative L2 {last.L2:.1e}, largest {last.largest:.1e}",
                      "size of the residual", "loss", "relative L2 error"]  # fmt: skip
    u = heat(heat.problem.mesh(101)).reshape(101, 101)
    assert_array_equal(axes[0].images[0].get_array(), u)  # x upwards, t to the right
    assert axes[0].images[0].get_extent() == [0, 1, -1, 1] and axes[0].get_xlabel() == "t" and axes[0].get_ylabel() == "x"
    assert len(axes[4].lines) == 2


def test_places_keep_their_order():
    """u = x on the left, and x runs to the right."""
    part = Part("equation", dirichlet(lambda x: x[:, 0]))
    problem = Problem("ramp", "u = x", {}, ("x", "y"), ((0.0, 2.0), (0.0, 1.0)), (part,), lambda x: x[:, 0])
    net = kan([2, 1], intervals=1, base=None)
    axes = _axes(plot.fields(problem, net, np.zeros(net.size)))
    image = axes[1].images[0]
    assert image.get_extent() == [0, 2, 0, 1] and axes[1].get_xlabel() == "x"
    assert_allclose(image.get_array()[0], np.linspace(0, 2, 101))
    assert [ax.get_title() for ax in axes].count("loss") == 0


def test_only_two_coordinates_are_drawn():
    with pytest.raises(ValueError, match="two coordinates, but mine has 1"):
        plot.fields(own(None), kan([1, 1]), kan([1, 1]).init(0))


def _axes(figure):
    return [ax for part in (figure.subfigs or [figure]) for ax in part.axes]
