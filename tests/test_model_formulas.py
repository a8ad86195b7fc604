"""The face on the way from a network to a formula: sparse training, pruning, symbolic edges, files; and the ledger's rows."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import sympy
from numpy.testing import assert_allclose, assert_array_equal

from kanref import io, sparsify
from kanref.edges import Symbolic
from kanref.functions import LIBRARY, Function
from kanref.model import Model
from kanref.network import KAN, Layer, kan
from kanref.symbolic import compile_expression

RNG = np.random.default_rng(4)
X = RNG.uniform(-1, 1, (500, 3))
Y = np.exp(np.sin(np.pi * X[:, 0]) + X[:, 2] ** 2)  # the second column does not matter
ONE = Function.from_formula("bump", "1/(1 + x**2)", complexity=3)


@pytest.fixture(scope="module")
def thin():
    """[3, 1, 1], trained, its second input pruned."""
    model = Model.build([3, 1, 1], intervals=3, seed=0, names=("alpha", "beta", "gamma"))
    model = model.fit(X, Y, optimizer="lm", steps=60).update_grid(X)
    for intervals in (3, 12, 12):
        model = model.fit(X, Y, optimizer="lm", steps=60, intervals=[intervals]).update_grid(X)
    return model.prune(X, inputs=1e-2)


@pytest.fixture(scope="module")
def symbolic(thin):
    return thin.auto_symbolic(X).fit(X, Y, optimizer="lm", steps=60)


# ------------------------------------------------------------------------------------------------------ sparse training


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "lm"])
@pytest.mark.parametrize("sparsity", [0.05, {"weight": 0.05, "metric": "pykan-0.2.8", "entropy": 2.0}])
def test_every_optimiser_lowers_loss_and_penalty_together(optimizer, sparsity):
    start = Model.build([3, 4, 1], intervals=3, seed=0)
    model = start.fit(X, Y, optimizer=optimizer, steps=25, sparsity=sparsity)
    objective = start.objective(X, Y, sparsity)
    assert objective.value(model.theta) < objective.value(start.theta)
    assert_allclose(model.history.loss[-1], objective.value(model.theta), rtol=1e-9)
    options = {} if isinstance(sparsity, float) else {"metric": "pykan-0.2.8", "entropy": 2.0}
    value = start.loss(X, Y) + 0.05 * sparsify.penalty(start.net, X, **options).value(start.theta)
    assert_allclose(objective.value(start.theta), value, rtol=1e-14)


def test_minibatches_take_data_and_penalty_on_the_same_rows():
    objective, rows = Model.build([3, 2, 1]).objective(X, Y, 0.1), np.arange(7, 40)
    theta = Model.build([3, 2, 1]).theta
    assert_allclose(objective.batch(rows).value(theta), Model.build([3, 2, 1]).objective(X[rows], Y[rows], 0.1).value(theta))
    model = Model.build([3, 2, 1]).fit(X, Y, optimizer="adam", batch=50, steps=30, rate=1e-2, sparsity=0.01)
    assert model.loss(X, Y) < Model.build([3, 2, 1]).loss(X, Y)


def test_weights_may_be_numbers_of_numpy():
    model = Model.build([3, 2, 1])
    plain = model.fit(X, Y, steps=3, sparsity=0.5).theta
    assert_array_equal(model.fit(X, Y, steps=3, sparsity=np.float32(0.5)).theta, plain)


def test_no_sparsity_is_the_plain_loss():
    model = Model.build([3, 2, 1])
    for nothing in (None, 0, 0.0):
        assert model.objective(X, Y, nothing).value(model.theta) == model.loss(X, Y)


@pytest.mark.parametrize("sparsity", [-1, np.inf, np.nan, {"entropy": 1.0}, {"weight": "much"}, "1e-3"])
def test_a_sparsity_that_is_no_weight(sparsity):
    with pytest.raises(ValueError, match="sparsity must be a weight >= 0, or a dictionary with one as \"weight\", but it is"):
        Model.build([3, 2, 1]).fit(X, Y, sparsity=sparsity)


# -------------------------------------------------------------------------------------------------------- pruned inputs


def test_b22_pruned_columns_are_remembered_by_model_and_file(thin, tmp_path):
    """Ledger B22: pykan loses the selection on saving, and then differs by 0.97."""
    assert thin.columns == (0, 2) and thin.width == 3 and thin.input_names == ["alpha", "gamma"]
    thin.save(tmp_path / "thin.safetensors")
    again = Model.load(tmp_path / "thin.safetensors")
    assert (again.columns, again.width, again.names) == (thin.columns, 3, thin.names)
    assert_array_equal(again.predict(X), thin.predict(X))
    other = X.copy()
    other[:, 1] = 7.0
    assert_array_equal(thin.predict(other), thin.predict(X))


def test_b22_variables_are_not_renumbered(symbolic):
    names = {str(s) for s in symbolic.formula()[0].free_symbols}
    assert names == {"alpha", "gamma"}
    unnamed = replace(symbolic, names=())
    assert {str(s) for s in unnamed.formula()[0].free_symbols} == {"x1", "x3"}


def test_derivatives_are_by_the_columns_of_x(thin):
    G, H = thin.gradient(X), thin.hessian(X)
    assert G.shape == (500, 1, 3) and H.shape == (500, 1, 3, 3)
    assert not G[..., 1].any() and not H[..., 1, :].any() and not H[..., :, 1].any()
    values, first, second = thin.derivatives(X)
    assert_array_equal(values[:, 0], thin.predict(X))
    assert_allclose(first[:, :, 0].T, G[:, 0], atol=1e-13)
    assert_allclose(second[:, :, 0].T, np.einsum("nii->ni", H[:, 0]), atol=1e-11)
    v = np.array([[1.0, 5.0, 2.0]])
    assert_allclose(thin.derivatives(X, v)[1][0, :, 0], G[:, 0, 0] + 2 * G[:, 0, 2], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("columns", [X[:, :2], np.hstack([X, X[:, :1]])])
def test_b29_the_width_is_that_of_training(thin, columns):
    """Ledger B29: extra columns are refused, also by a pruned model."""
    with pytest.raises(ValueError, match="X must have shape"):
        thin.predict(columns)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"columns": (0, 0)}, "columns must be 2 of 0..2, one for each input"),  # twice the same
        ({"columns": (0, 3)}, "columns must be 2 of 0..2"),
        ({"columns": (0,)}, "columns must be 2 of 0..2"),
        ({"names": ("a", "b")}, "names must be 3 different texts"),
        ({"names": ("a", "b", "a")}, "names must be 3 different texts"),
        ({"width": 1}, "width"),
    ],
)
def test_selections_that_do_not_fit(thin, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(thin, **changes)


def test_b24_b25_steps_take_their_data_and_leave_the_model_alone(thin):
    before = thin.theta.copy()
    thin.prune(X), thin.auto_symbolic(X), thin.refine(7, X), thin.update_grid(X), thin.attribute(X), thin.read
    assert_array_equal(thin.theta, before)
    with pytest.raises(TypeError):
        thin.prune()


# ------------------------------------------------------------------------------------------------------------- formulas


def test_the_formula_is_the_function_with_a_certificate(symbolic):
    a, c = sympy.symbols("alpha gamma")
    found = symbolic.read(X)
    assert found.expressions == (sympy.exp(sympy.sin(sympy.pi * a) + c**2),)
    assert symbolic.certificate(X).largest < 1e-10 and found.after.largest < 1e-10
    assert symbolic.rmse(X, Y) < 1e-12


CALLED = [("exp", "sin", "log"), ("x0", "x2", "x1"), ("select", "lambda", "heat flux"), ("pi", "I", "E")]


@pytest.mark.parametrize("names", CALLED)
def test_columns_may_be_called_as_functions_are(symbolic, names):
    model = replace(symbolic, names=names)
    plain, found = symbolic.read(X), model.read(X)
    variables = dict(zip(map(sympy.Symbol, ("alpha", "beta", "gamma")), map(sympy.Symbol, names)))
    assert found.expressions[0] == plain.expressions[0].subs(variables, simultaneous=True)
    assert found.after.largest < 1e-10


def test_the_table_of_a_network_names_its_formulas(symbolic):
    assert "symbolic: sin, x^2" in repr(symbolic.net)


def test_report_of_the_last_step(thin, symbolic):
    assert "inputs" in str(thin.report) and "removed" in str(thin.report)
    assert "sin" in str(thin.auto_symbolic(X).report)


def test_fix_and_unfix_an_edge(thin):
    fixed = thin.fix(X, 0, 0, 0, "sin")
    assert isinstance(fixed.net.layers[0].terms["symbolic"], Symbolic)
    back = fixed.unfix(X, 0, 0, 0)
    assert "symbolic" not in back.net.layers[0].terms
    assert_allclose(back.predict(X), fixed.predict(X), atol=0.05)
    assert list(thin.suggest(X, 0, 0, 0))[0].function is LIBRARY["sin"]


def test_formulas_and_splines_train_refine_and_move_their_grids(thin):
    mixed = thin.fix(X, 0, 0, 1, "x^2")
    finer = mixed.refine(24, X)
    assert_allclose(finer.predict(X), mixed.predict(X), atol=2e-3)
    assert_allclose(mixed.refine().predict(X), mixed.predict(X), rtol=1e-12)
    moved = mixed.update_grid(X)
    assert isinstance(moved.net.layers[0].terms["symbolic"], Symbolic)
    assert moved.fit(X, Y, optimizer="lm", steps=15).loss(X, Y) < mixed.loss(X, Y)


def test_symbolic_models_in_files(symbolic, tmp_path):
    symbolic.save(tmp_path / "formula.safetensors")
    again = Model.load(tmp_path / "formula.safetensors")
    assert_array_equal(again.predict(X), symbolic.predict(X))
    assert again.formula() == symbolic.formula()


def test_functions_of_your_own_are_given_again_when_a_file_is_read(tmp_path):
    net = KAN((Layer({"symbolic": Symbolic((1, 1), ((0, 0, ONE),))}),))
    model = Model(net, np.array([2.0, 0.1, 3.0, -1.0]))
    model.save(tmp_path / "own.safetensors")
    with pytest.raises(io.FileError, match=r"uses the function 'bump', which is not one of kanref's; give it: load\(path, fun"):
        Model.load(tmp_path / "own.safetensors")
    again = Model.load(tmp_path / "own.safetensors", {"bump": ONE})
    x = np.linspace(-1, 1, 9)[:, None]
    assert_array_equal(again.predict(x), model.predict(x))
    assert_allclose(again.predict(x), 3 / (1 + (2 * x[:, 0] + 0.1) ** 2) - 1, rtol=1e-14)


@pytest.mark.parametrize("name", ["sin", "x^5/3", "x^2.5"])
def test_a_function_that_takes_the_name_of_another(tmp_path, name):
    fake = Function.from_formula(name, "x**2")
    model = Model(KAN((Layer({"symbolic": Symbolic((1, 1), ((0, 0, fake),))}),)), np.ones(4))
    with pytest.raises(ValueError, match=f"named '{re.escape(name)}' as one of kanref's"):
        model.save(tmp_path / "fake.safetensors")


def test_compiled_powers_need_not_be_given_again(tmp_path):
    x = sympy.symbols("x1:4")
    expression = x[0] ** 7 + x[0] ** sympy.Rational(-7, 3) + x[1] ** -6 + x[1] ** 0.1234567890123456 + x[2] ** sympy.pi
    model = Model(*compile_expression(expression + x[2] ** sympy.sqrt(2), x))
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    Z = np.random.default_rng(0).uniform(0.1, 2, (30, 3))
    assert_array_equal(again.predict(Z), model.predict(Z))
    assert again.formula() == model.formula() and again.certificate(Z).largest < 1e-14
    names = {f.name for layer in again.net.layers for _, _, f in layer.terms["symbolic"].formulas}
    assert {"x^-7/3", "x^7", "x^0.1234567890123456", "x^pi"} < names


# ---------------------------------------------------------------------------------------------------------- the ledger


@pytest.mark.parametrize("seed", range(3))
def test_b21_exchanging_nodes_changes_nothing(seed):
    """Ledger B21: pykan's swap leaves the functions of formulas where they were: 0.5455 becomes 0.5694."""
    rng = np.random.default_rng(seed)
    pick = list(LIBRARY[name] for name in ("sin", "gaussian", "tanh", "x^2", "arctan", "x"))
    first = Symbolic((3, 2), tuple((q, p, pick[2 * q + p]) for q in range(3) for p in range(2)))
    second = Symbolic((1, 3), tuple((0, p, pick[p]) for p in range(3)))
    spline = kan([2, 3, 1], intervals=3)
    terms = [{**layer.terms, "symbolic": part} for layer, part in zip(spline.layers, (first, second))]
    net = KAN(tuple(Layer(t) for t in terms))
    theta, x = rng.normal(size=net.size), rng.uniform(-1, 1, (20, 2))
    swapped = net.select(theta, [np.arange(2), np.array([2, 0, 1]), np.arange(1)])
    assert_allclose(swapped[0](swapped[1], x), net(theta, x), rtol=1e-13, atol=1e-13)
    assert not np.array_equal(swapped[1], theta)


def test_b23_numpy_numbers_in_a_structure_are_written_as_numbers(tmp_path):
    """Ledger B23: pykan writes NumPy integers that its own loader refuses."""
    numbers = np.array([2, 3, 1])
    model = Model.build(list(numbers), intervals=np.int64(4), degree=np.int32(3), domain=np.array([-1.0, 1.0]))
    model = replace(model, columns=tuple(np.arange(2)), width=np.int64(2))
    model.save(tmp_path / "numpy.safetensors")
    again = Model.load(tmp_path / "numpy.safetensors")
    x = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    assert_array_equal(again.predict(x), model.predict(x))
    assert json.loads(json.dumps(again.columns)) == [0, 1] and type(again.width) is int
