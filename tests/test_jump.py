"""Poisson's equation with a jump: the problem is consistent, its parts are what they say, and the experiment's record holds."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from kanref.check import check_objective
from kanref.network import kan
from kanref.papers import jump
from kanref.pde.poisson_jump import grid, poisson_jump

RECORD = Path(__file__).parent / "data" / "jump.json"
H = 1e-4
FAMILY = [{}, {"ratio": 3, "frequency": 1}]


def exact_fields(problem, x):
    """u, u_i and u_ij of the reference by differences that do not cross x = 0."""
    steps = np.eye(2) * H
    u = problem.reference
    u_i = np.stack([(u(x + h) - u(x - h)) / (2 * H) for h in steps], 1)
    u_ij = np.stack([[(u(x + h + k) - u(x + h - k) - u(x - h + k) + u(x - h - k)) / (4 * H**2) for k in steps] for h in steps])
    return u(x)[:, None], u_i[:, None], np.moveaxis(u_ij, -1, 0)[:, None]


@pytest.mark.parametrize("options", FAMILY)
def test_the_solution_solves_the_equation_on_both_sides(options):
    problem = poisson_jump(**options)
    x = np.random.default_rng(0).uniform(-1, 1, (80, 2))
    x = x[np.abs(x[:, 0]) > 0.01]
    r, _ = problem.parts[0].residual(x, *exact_fields(problem, x))
    size = np.abs(exact_fields(problem, x)[2]).max()
    assert_allclose(r, 0, atol=1e-6 * size)


@pytest.mark.parametrize("options", FAMILY)
def test_the_solution_vanishes_on_the_boundary_and_is_continuous_with_its_flux(options):
    problem = poisson_jump(**options)
    ratio = problem.parameters["ratio"]
    assert_allclose(problem.reference(grid(21)["boundary"]), 0, atol=1e-14)
    y = np.linspace(-1, 1, 9)
    u = lambda x: problem.reference(np.column_stack([np.full_like(y, x), y]))
    assert_allclose(u(-1e-300), u(0.0), atol=1e-15)
    left, right = u(-H) / -H, u(H) / H
    assert_allclose(left, right / ratio, atol=1e-5)
    assert np.abs(right - left).max() > 1


@pytest.mark.parametrize("hard", [False, True])
def test_the_interface_part_is_the_difference_of_one_sided_fluxes(hard):
    """By finite differences of u on both sides; in the hard version divided by its factor 1 - y^2."""
    problem = poisson_jump(ratio=3)
    net = kan([3, 4, 1], intervals=4, base=None, outside="linear")
    theta = net.init(1)
    x = grid(11)["interface"]
    u, h, part = problem.function(net, hard), np.array([1e-6, 0]), problem.parts[2]
    left, right = ((u(theta, x + s * h) - u(theta, x))[:, 0] / (s * 1e-6) for s in (-1, 1))
    factor = 1 - x[:, 1] ** 2 if hard else 1
    r = part.residual(x, *fields(part.trial(net), theta, x))[0]
    assert_allclose(factor * r, left - right / 3, atol=1e-5)
    assert np.abs(r).max() > 0.01


def fields(u, theta, x):
    value, first, second = u.derivatives(theta, x)
    hessian = np.full((len(x), 1, 2, 2), np.nan)
    for i in (0, 1):
        hessian[..., i, i] = second[i]
    return value, np.moveaxis(first, 0, -1), hessian


@pytest.mark.parametrize("part", [0, 1, 2])
def test_partials_by_complex_steps(part):
    residual = poisson_jump(ratio=3).parts[part].residual
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (7, 2))
    shapes = (7, 1), (7, 1, 2), (7, 1, 2, 2)
    given = [rng.normal(size=shape) for shape in shapes]
    for k, partial in enumerate(residual(x, *given)[1]):
        partial = np.zeros(shapes[k]) if partial is None else np.broadcast_to(partial, shapes[k])
        for entry in np.ndindex(shapes[k][1:]):
            moved = [a.astype(complex) for a in given]
            moved[k][(slice(None), *entry)] += 1e-30j
            assert_allclose(residual(x, *moved)[0].imag / 1e-30, partial[(slice(None), *entry)], atol=1e-14)


def test_a_level_set_makes_a_kink_and_hard_functions_vanish_on_the_boundary():
    problem = poisson_jump()
    net = kan([3, 3, 1], intervals=4, base=None, outside="linear")
    theta = net.init(3)
    sides = np.array([[-1e-9, 0.3], [0.0, 0.3], [1e-9, 0.3]])
    slope = problem.function(net).derivatives(theta, sides)[1][0, :, 0]
    assert abs(slope[2] - slope[0]) > 0.01 and slope[1] == pytest.approx(slope[2])
    edge = grid(11)["boundary"]
    assert_allclose(problem.function(net, hard=True)(theta, edge), 0, atol=1e-14)
    assert np.abs(problem.function(net)(theta, edge)).max() > 0.1


@pytest.mark.parametrize("hard", [False, True])
def test_the_gradient_of_the_loss(hard):
    net = kan([3, 2, 1], intervals=3, base=None, outside="linear")
    check_objective(poisson_jump().objective(net, grid(7), hard), net.init(4), np.random.default_rng(4))


def test_the_papers_points_and_parameters():
    points = grid()
    assert {part: len(x) for part, x in points.items()} == {"equation": 2401, "boundary": 200, "interface": 49}
    assert (np.abs(points["equation"]) < 1).all() and (np.abs(points["boundary"]).max(1) == 1).all()
    assert {n: jump.network(n).size for n in jump.PAPER} == jump.PAPER
    sobol = jump.points(jump.SOBOL)
    assert {part: len(x) for part, x in sobol.items()} == {part: len(x) for part, x in points.items()}
    with pytest.raises(ValueError, match="count must be odd"):
        grid(50)


@pytest.mark.parametrize("options", [{"ratio": 0}, {"frequency": 0}])
def test_parameters_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        poisson_jump(**options)


# -------------------------------------------------------------------------------------------------------- experiment


def test_short_form(tmp_path, monkeypatch):
    table = jump.run(tmp_path, short=True)
    done = json.loads((tmp_path / "jump-short.json").read_text())["cells"]
    assert [level[1] for level in done["multilevel / 0"]["levels"]] == [140, 220, 380]
    assert done["best / 0"]["levels"][-1][3] < 0.1
    for cell in done.values():
        trace = np.array(cell["trace"])
        assert (np.diff(trace[:, 3]) >= 0).all() and cell["levels"][-1][5] >= trace[-1, 0]
    assert "140 on 4 intervals" in table and "MLP [3, 16, 16, 1]" in table
    assert (tmp_path / "jump-short.png").stat().st_size > 10_000
    monkeypatch.setattr(jump, "train", lambda *args, **options: pytest.fail("the cell was there already"))
    assert jump.run(tmp_path, short=True) == table


def test_the_record_is_below_one_in_a_thousand_under_the_papers_budget():
    """The paper's network on its levels, with its weights and number of points, at fewer than its 5000 evaluations and in less
    time: relative L2 on every seed. The paper's Adam misses this on any grids; the ReLU geometry stays near 1."""
    record = json.loads(RECORD.read_text())
    assert record["settings"] == json.loads(json.dumps(jump.PLAN))
    cells = {name: [record["cells"].get(f"{name} / {seed}") for seed in jump.SEEDS] for name in jump.LOOKS}
    last = {name: np.array([cell["levels"][-1] for cell in row if cell]) for name, row in cells.items()}
    assert all(len(rows) == (2 if name in jump.COSTLY else 3) for name, rows in last.items())
    L2, evaluations, seconds = (lambda name, column=column: last[name][:, column] for column in (3, 5, 6))
    assert L2("best, cubic").max() <= 1e-3 and evaluations("best, cubic").max() < 5000
    assert np.median(seconds("best, cubic")) < np.median(seconds("multilevel"))
    assert L2("best").max() <= 1e-4
    assert min(L2(name).min() for name in ("multilevel", "coarse", "fine", "MLP [3, 16, 16, 1]")) > 1e-2
    assert L2("relu multilevel").min() > 0.9 > 0.1 > np.median(L2("multilevel"))
