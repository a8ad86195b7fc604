"""The face and its files: the same bits from the same seed, nothing changed in place, what training keeps, and files that
give back everything or are refused."""

import json
import os
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import load_file, save_file

import kanref
from kanref import grids, io, optimize
from kanref import model as model_module
from kanref.bases import BSpline, Chebyshev, MinMax, Pointwise, identity, silu, sin, tanh
from kanref.io import FileError
from kanref.model import History, Model
from kanref.network import KAN, Layer, kan, spline_layer
from kanref.nodes import Nodes
from kanref.terms import Linear
from kanref.weights import Fixed, Full, Masked, Scaled

RNG = np.random.default_rng(7)
X = RNG.uniform(-1, 1, (120, 2))
Y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2
LABELS = (Y > 0.2).astype(int) + (Y > 0.8)
NOISY = X[:, 0] + RNG.normal(size=120)
HELD = RNG.uniform(-1, 1, (60, 2))


def small(**options):
    return Model.build([2, 3, 1], intervals=3, **options)


def trained(**options):
    return small().fit(X, Y, steps=5, validation=0.2, **options)


def same_model(a, b):
    """Everything that predicts or is told is the same, to the bit."""
    assert repr(a.net) == repr(b.net) and a.task == b.task and a.extra == b.extra
    assert a.theta.dtype == b.theta.dtype
    assert_array_equal(a.theta, b.theta)
    for name in ("loss", "validation", "rate", "seconds", "run"):
        assert_array_equal(getattr(a.history, name), getattr(b.history, name))
    assert a.history.reasons == b.history.reasons


# ------------------------------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("optimizer, options", [("lbfgs", {}), ("adam", {}), ("adam", {"batch": 16}), ("lm", {})])
def test_same_seed_same_bits_and_nothing_changed_in_place(optimizer, options):
    start, X0, Y0 = small(seed=3), X.copy(), Y.copy()
    theta0 = start.theta.copy()
    fits = [
        start.fit(X, Y, optimizer=optimizer, steps=8, intervals=[3, 4], validation=0.25, **options) for _ in range(2)
    ]
    for name in ("loss", "validation", "rate", "run"):
        assert_array_equal(getattr(fits[0].history, name), getattr(fits[1].history, name))
    assert_array_equal(fits[0].theta, fits[1].theta)
    assert_array_equal(start.theta, theta0)
    assert len(start.history) == 0 and start.net.layers[0].terms["spline"].basis.intervals == 3
    assert_array_equal(X, X0)
    assert_array_equal(Y, Y0)
    assert fits[0].loss(X, Y) < start.loss(X, Y)


def test_seeds_and_seeds_only_make_the_difference():
    assert_array_equal(small(seed=1).theta, small(seed=1).theta)
    assert (small(seed=1).theta != small(seed=2).theta).any()


def test_grid_changes_return_new_models_with_the_same_function():
    m = trained()
    theta = m.theta.copy()
    for other in (m.refine(), m.refine(6, X), m.refine(6)):
        assert other.net.layers[0].terms["spline"].basis.intervals >= 6
        inside = 0.2 * X  # hidden values stay in the domain there, where spaces nest
        assert_allclose(other.raw(inside), m.raw(inside), atol=1e-10)
    moved = m.update_grid(X)
    seen = moved.net.activations(moved.theta, X)[1]
    low, high = moved.net.layers[1].terms["spline"].basis.domain.T
    assert (low <= seen.min(0)).all() and (seen.max(0) <= high).all()
    assert_array_equal(m.theta, theta)


# ---------------------------------------------------------------------------------------------------------- training


def test_history_tells_every_step_of_every_run():
    m = small().fit(X, Y, steps=4, intervals=[3, 5])
    h = m.history
    assert len(h) == 10 and len(h.reasons) == 2
    assert_array_equal(h.run, [0] * 5 + [1] * 5)
    assert np.isnan(h.validation).all() and (np.diff(h.loss[:5]) < 0).all()
    assert_allclose(h.loss[0], small().loss(X, Y), rtol=1e-13)
    assert_allclose(h.loss[-1], m.loss(X, Y), rtol=1e-13)
    again = m.fit(X, Y, steps=2)
    assert_array_equal(again.history.run, [0] * 5 + [1] * 5 + [2] * 3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "lm"])
def test_validation_keeps_the_parameters_of_its_lowest_loss(optimizer):
    held = HELD, HELD[:, 0]
    options = {"rate": 0.05} if optimizer == "adam" else {}
    m = Model.build([2, 8, 1], intervals=8).fit(X, NOISY, optimizer=optimizer, steps=40, validation=held, **options)
    h = m.history
    assert_allclose(m.loss(*held), h.validation.min(), rtol=1e-12)
    assert h.validation.argmin() < len(h) - 1  # it does overfit, so that this is a test
    assert m.loss(X, NOISY) > h.loss.min()


def test_a_share_for_validation_is_drawn_by_the_seed_and_not_trained_on():
    fits = [small().fit(X, Y, steps=5, validation=0.25, seed=s) for s in (0, 0, 1)]
    assert_array_equal(fits[0].theta, fits[1].theta)
    assert (fits[0].theta != fits[2].theta).any()
    order = np.random.default_rng(0).permutation(120)
    by_hand = small().fit(X[order[30:]], Y[order[30:]], steps=5, validation=(X[order[:30]], Y[order[:30]]))
    assert_array_equal(fits[0].theta, by_hand.theta)


def test_patience_ends_a_run_and_says_so():
    m = Model.build([2, 8, 1], intervals=8).fit(X, NOISY, steps=500, validation=(HELD, HELD[:, 0]), patience=7)
    h = m.history
    assert len(h) - 1 == h.validation.argmin() + 7
    assert h.reasons == ("No lower validation loss in 7 steps; the parameters of the lowest one are kept.",)


def test_coarse_to_fine_reaches_lower_losses_and_keeps_the_better_grid():
    clean = Model.build([2, 3, 1], intervals=2).fit(X, Y, steps=60, intervals=[2, 8], validation=(HELD, truth(HELD)))
    h = clean.history
    assert clean.net.layers[0].terms["spline"].basis.intervals == 8
    assert h.validation[h.run == 1].min() < h.validation[h.run == 0].min()
    start = Model.build([2, 1], intervals=1)
    noisy = start.fit(X, NOISY, steps=60, intervals=[1, 60], validation=(HELD, HELD[:, 0]))
    h = noisy.history
    assert len(h.reasons) == 2 and h.validation[h.run == 1].min() > (1 - 1e-9) * h.validation[h.run == 0].min()
    assert noisy.net.layers[0].terms["spline"].basis.intervals == 1
    assert_allclose(noisy.loss(HELD, HELD[:, 0]), h.validation.min(), rtol=1e-8)


def truth(x):
    return np.sin(3 * x[:, 0]) + x[:, 1] ** 2


def test_minibatches_validate_once_in_each_pass():
    m = small().fit(X, Y, optimizer="adam", batch=25, rate=0.02, steps=10, validation=(HELD, truth(HELD)))
    known = np.flatnonzero(np.isfinite(m.history.validation))
    assert_array_equal(known, [0, 4, 8, 10])
    assert_allclose(m.loss(HELD, truth(HELD)), np.nanmin(m.history.validation), rtol=1e-12)


def test_minibatches_return_the_last_parameters():
    states = []
    m = small().fit(X, Y, optimizer="adam", batch=25, steps=10, rate=0.5, callback=lambda s: states.append(s.theta))
    assert_array_equal(m.theta, states[-1])


def test_callbacks_see_every_step_and_stop_the_run():
    steps = []
    m = small().fit(X, Y, steps=50, callback=lambda state: steps.append(state.step) or state.step == 3)
    assert steps == [0, 1, 2, 3]
    assert m.history.reasons == (optimize.Stop.CALLBACK.value,)


def test_a_time_limit_ends_the_run():
    m = small().fit(X, Y, steps=10**6, optimizer="adam", seconds=0.02)
    assert m.history.reasons == (optimize.Stop.SECONDS.value,)


def interrupt_at(step):
    def callback(state):
        if state.step == step:
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "lm"])
@pytest.mark.parametrize("validation", [None, 0.25])
def test_interruption_returns_the_best_so_far(optimizer, validation):
    m = small().fit(
        X, Y, steps=50, optimizer=optimizer, intervals=[3, 5], callback=interrupt_at(4), validation=validation
    )
    assert m.history.interrupted and len(m.history) == 5 and len(m.history.reasons) == 1
    assert m.loss(X, Y) < small().loss(X, Y)
    assert not small().history.interrupted and not trained().history.interrupted


def test_interruption_between_grids_keeps_the_grid_before(monkeypatch):
    before, extend = small().fit(X, Y, steps=5, intervals=[3]), grids.extend

    def at_six(net, theta, intervals, x):
        if intervals == 6:
            raise KeyboardInterrupt
        return extend(net, theta, intervals, x)

    monkeypatch.setattr(grids, "extend", at_six)
    m = small().fit(X, Y, steps=5, intervals=[3, 6])
    assert m.history.interrupted and len(m.history) == 6 and len(m.history.reasons) == 1
    assert_array_equal(m.theta, before.theta)


def test_interruption_before_the_first_step_has_nothing_to_return(monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_module.optimize, "lbfgs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small().fit(X, Y, steps=5)


def test_progress_bars_go_to_stderr_with_grid_loss_and_rate(capsys):
    small().fit(X, Y, steps=3, intervals=[3, 12], validation=0.2, progress="case 1")
    out, err = capsys.readouterr()
    assert out == ""
    for part in ("case 1  3 intervals", "case 1 12 intervals", "3/3 steps", "loss=", "validation=", "rate="):
        assert part in err
    small().fit(X, Y, steps=3, progress=False)
    assert capsys.readouterr() == ("", "")


BAD_FITS = [
    ({"optimizer": "sgd"}, ValueError, "optimizer must be one of 'lbfgs', 'adam', 'lm', but it is 'sgd'"),
    ({"steps": -1}, ValueError, "steps must be at least 0, but it is -1"),
    ({"steps": 2.5}, TypeError, "steps must be an integer"),
    ({"batch": 8}, ValueError, 'batch is for optimizer="adam"'),
    ({"rate": 0.1}, ValueError, 'rate is for optimizer="adam"'),
    ({"patience": 5}, ValueError, "patience needs validation data"),
    ({"intervals": 5}, ValueError, "intervals must be a list of numbers, as .3, 5, 10., but it is 5"),
    ({"intervals": []}, ValueError, "intervals must be a list"),
    ({"intervals": [0]}, ValueError, "intervals must be from 1 to 10000000, but it is 0"),
    ({"validation": 1.5}, ValueError, "validation must be a share between 0 and 1 or a pair"),
    ({"validation": "0.2"}, ValueError, "validation must be a share between 0 and 1 or a pair"),
    ({"validation": 0.001}, ValueError, "validation = 0.001 of 120 samples leaves one part empty"),
    ({"validation": (X[:, :1], Y)}, ValueError, r"shape \(samples, 2\)"),
]


@pytest.mark.parametrize("options, kind, message", BAD_FITS)
def test_bad_arguments_of_fit(options, kind, message):
    with pytest.raises(kind, match=message):
        small().fit(X, Y, **{"steps": 2, **options})


BAD_DATA = [
    (X[:, :1], Y, ValueError, r"X must have shape \(samples, 2\), but it has shape \(120, 1\)"),
    (np.where(X > 0.99, np.nan, X), Y, ValueError, "X must be finite, but X.*is nan; remove or impute"),
    (X, np.where(Y > 1, np.inf, Y), ValueError, "y must be finite, but y.*is inf"),
    (X, Y[:-1], ValueError, "must have as many rows"),
    (X + 1j, Y, TypeError, "take the real part"),
    (X[:0], Y[:0], ValueError, "X has no rows"),
    (X[:1], Y[:1], ValueError, "X has 1 sample, but training needs at least 2"),
    (np.column_stack([X[:, 0], np.ones(120)]), Y, ValueError, r"column 1 of X is constant \(1\) and teaches nothing"),
]


@pytest.mark.parametrize("x, y, kind, message", BAD_DATA)
def test_bad_data(x, y, kind, message):
    with pytest.raises(kind, match=message):
        small().fit(x, y, steps=2)


def test_rows_of_x_and_y_are_compared_before_a_share_is_drawn():
    with pytest.raises(ValueError, match="X has 120 and y has 119; align the samples"):
        small().fit(X, Y[:-1], validation=0.2)


def test_a_model_must_fit_its_parts():
    net = kan([2, 1])
    with pytest.raises(ValueError, match="task must be one of"):
        Model(net, net.init(0), "ranking")
    with pytest.raises(ValueError, match=f"theta must hold {net.size}"):
        Model(net, np.zeros(3))
    with pytest.raises(ValueError, match="theta must be finite"):
        Model(net, np.full(net.size, np.nan))


# ------------------------------------------------------------------------------------------------------------- tasks


def test_regression_predictions_scores_and_derivatives():
    m = Model.build([2, 4, 2], intervals=4, outside="linear")
    both = np.column_stack([Y, X[:, 0]])
    m = m.fit(X, both, steps=80)
    f = m.predict(X)
    assert f.shape == (120, 2)
    assert_array_equal(f, m.raw(X))
    assert_allclose(m.rmse(X, both), np.sqrt(((f - both) ** 2).mean()), rtol=1e-12)
    assert_allclose(m.loss(X, both), m.rmse(X, both) ** 2, rtol=1e-12)
    r2 = 1 - ((f - both) ** 2).sum(0) / ((both - both.mean(0)) ** 2).sum(0)
    assert_allclose(m.score(X, both), r2.mean(), rtol=1e-12)
    assert m.score(X, both) > 0.99
    h = 1e-5
    slope = np.stack([(m.predict(X + h * e) - m.predict(X - h * e)) / (2 * h) for e in np.eye(2)], -1)
    assert_allclose(m.gradient(X), slope, atol=1e-7)
    bend = np.stack([(m.gradient(X + h * e) - m.gradient(X - h * e)) / (2 * h) for e in np.eye(2)], -1)
    assert_allclose(m.hessian(X), bend, atol=2e-4)
    values, first, second = m.derivatives(X, np.eye(2)[:1])
    assert_allclose(values, f, rtol=1e-13, atol=1e-13)
    assert_allclose(first[0], m.gradient(X)[..., 0], rtol=1e-12, atol=1e-12)
    assert_allclose(second[0], m.hessian(X)[..., 0, 0], rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="y is constant, so that R.2 is not defined"):
        m.score(X, np.ones((120, 2)))
    with pytest.raises(ValueError, match="probabilities are for classification, but the task is 'regression'"):
        m.probabilities(X)


def test_one_output_predicts_a_vector():
    m = small()
    assert m.predict(X).shape == (120,) and m.raw(X).shape == (120, 1)
    assert_array_equal(m.predict(X), m.raw(X)[:, 0])
    one = Model.build([1, 1], intervals=3)
    assert_array_equal(one.predict(X[:, 0]), one.predict(X[:, :1]))


def test_absolute_errors_resist_outliers():
    y = X[:, 0].copy()
    y[:10] += 50
    fits = {
        task: Model.build([2, 1], intervals=1, task=task).fit(X, y, steps=150) for task in ("absolute", "regression")
    }
    error = {task: np.abs(m.predict(X) - X[:, 0])[10:].mean() for task, m in fits.items()}
    assert error["absolute"] < 0.1 < 1 < error["regression"]


@pytest.mark.parametrize(
    "task, outputs, labels", [("classification", 3, LABELS), ("binary", 1, (LABELS > 0).astype(int))]
)
def test_classification_tasks(task, outputs, labels):
    m = Model.build([2, 4, outputs], intervals=3, task=task).fit(X, labels, steps=60)
    P, predicted = m.probabilities(X), m.predict(X)
    assert P.shape == (120, labels.max() + 1) and predicted.dtype.kind == "i"
    assert_allclose(P.sum(1), 1, rtol=1e-13)
    assert_array_equal(P.argmax(1), predicted)
    assert_allclose(m.loss(X, labels), -np.log(P[np.arange(120), labels]).mean(), rtol=1e-9, atol=1e-15)
    assert m.score(X, labels) == (predicted == labels).mean() > 0.95
    with pytest.raises(ValueError, match='optimizer="lm" minimises squared errors only'):
        m.fit(X, labels, optimizer="lm")
    with pytest.raises(ValueError, match="labels must"):
        m.fit(X, labels + 0.5)


def test_float32_stays_float32_through_training():
    m = small(dtype=np.float32).fit(X, Y, steps=20, intervals=[3, 5], validation=0.2)
    assert m.theta.dtype == np.float32 and m.predict(X).dtype == np.float32
    assert m.rmse(X, Y) < 0.5 * small().rmse(X, Y)


def test_words():
    text = repr(trained())
    assert text.startswith("KAN [2, 3, 1], 63 parameters") and "task: regression, precision: float64" in text
    assert re.search(r"trained: 1 run, 5 steps, loss \S+ -> \S+", text) and "All steps are used up" in text
    assert "trained" not in small().summary()


# ------------------------------------------------------------------------------------------------------------- files

mask = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.5]])
uneven = BSpline(np.sort(RNG.normal(size=(2, 9)), 1), 2, "linear")
NETWORKS = {
    "plain": kan([2, 3, 1], intervals=3),
    "deep": kan([2, 2, 2, 1], intervals=2, degree=1, outside="clamp", base=None),
    "linear first": kan([2, 3, 1], intervals=2, first="linear", bias=True),
    "normalised": kan([2, 3, 1], intervals=2, normalise=tanh, scaled=True),
    "products": kan([2, [1, [2, 3]], 1], intervals=2, affine=("node_bias", "subnode_scale")),
    "nodes": KAN(
        (spline_layer(2, 3, BSpline.uniform(2, 3, 2), nodes=Nodes((1, 2), (), {"node_scale": np.array([2.0, 0.1])})),)
    ),
    "masked": KAN((spline_layer(2, 3, uneven, mask=mask, scaled=True, base=sin),)),
    "fixed": KAN(
        (Layer({"a": Linear(identity, Fixed(RNG.normal(size=(3, 2, 1)))), "b": Linear(silu, Full((3, 2, 1)))}),)
    ),
    "chebyshev": KAN((Layer({"cheb": Linear(Chebyshev(4), Full((1, 2, 5)))}, True, MinMax([-1, -2], [1, 3])),)),
    "nested": KAN((Layer({"m": Linear(Chebyshev(1), Masked(Scaled(Full((3, 2, 2))), mask))}),)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_files_give_back_every_bit(tmp_path, name, dtype):
    net, path = NETWORKS[name], tmp_path / "m.safetensors"
    m = Model(net, net.init(5).astype(dtype), extra={"note": "ä, 1", "list": [1, None, {"a": 0.1}]})
    m.save(path)
    back = kanref.load(path)
    same_model(m, back)
    assert_array_equal(m.raw(X), back.raw(X))
    again = tmp_path / "again.safetensors"
    back.save(again)
    assert path.read_bytes() == again.read_bytes()


def test_knots_and_masks_come_back_to_the_bit(tmp_path):
    net, path = NETWORKS["masked"], tmp_path / "m.safetensors"
    io.save_network(path, net, net.init(0))
    term = io.load_network(path)[0].layers[0].terms["spline"]
    assert_array_equal(term.basis.knots, uneven.knots)
    assert_array_equal(term.weights.mask, mask)
    assert term.basis.degree == 2 and term.basis.outside == "linear"


@pytest.mark.parametrize("task, outputs, y", [("regression", 1, Y), ("classification", 3, LABELS), ("absolute", 1, Y)])
def test_task_and_history_come_back(tmp_path, task, outputs, y):
    m = Model.build([2, 2, outputs], intervals=2, task=task).fit(X, y, steps=3, intervals=[2, 3], validation=0.2)
    m = m.fit(X, y, steps=2)  # without validation: NaN
    m.save(tmp_path / "m")
    same_model(m, Model.load(tmp_path / "m"))
    assert np.isnan(Model.load(tmp_path / "m").history.validation[-1])


def test_other_readers_get_the_arrays_by_name(tmp_path):
    m = small()
    m.save(tmp_path / "m")
    tensors = load_file(tmp_path / "m")
    for name, view in m.net.split(m.theta).items():
        assert_array_equal(tensors[name], view)


cube = Pointwise("cube", (lambda x: x**3, lambda x: 3 * x**2, lambda x: 6 * x, lambda x: 6 + 0 * x))


def test_functions_of_ones_own_are_named_in_the_file_and_given_again(tmp_path):
    net, path = kan([2, 1], intervals=2, base=cube), tmp_path / "m"
    m = Model(net, net.init(0))
    m.save(path)
    with pytest.raises(
        FileError, match="base function 'cube', which is not one of kanref's; give it: load.path, functions="
    ):
        kanref.load(path)
    same_model(m, kanref.load(path, functions={"cube": cube}))
    impostor = replace(cube, name="silu")
    with pytest.raises(ValueError, match="named 'silu' as one of kanref's.*give it another name"):
        io.save_network(path, kan([2, 1], base=impostor), np.zeros(kan([2, 1], base=impostor).size))


@dataclass(frozen=True)
class Steps:
    size = window = 1

    def derivatives(self, x, order):
        values = np.zeros((order + 1, *x.shape, 1))
        values[0, ..., 0] = x > 0
        return np.zeros(x.shape, np.int64), values


def test_parts_without_a_place_in_files_are_refused(tmp_path):
    net = KAN((Layer({"steps": Linear(Steps(), Full((1, 2, 1)))}),))
    with pytest.raises(TypeError, match="Steps has no place in a model file; files hold KAN, Layer"):
        io.save_network(tmp_path / "m", net, net.init(0))
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match="JSON"):
        replace(small(), extra={"a": np.nan}).save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "m"
    trained().save(path)
    return path.read_bytes()


def test_every_truncation_is_refused(tmp_path, whole):
    path = tmp_path / "m"
    for length in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(FileError, match="m is damaged or no safetensors file .*; save the model again"):
            kanref.load(path)


def test_every_flipped_bit_is_refused(tmp_path, whole):
    path = tmp_path / "m"
    for at in [*range(0, len(whole), 97), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(FileError):
            kanref.load(path)


def rewritten(path, whole, change):
    """A file whose header was changed by someone who can compute the check sum."""
    (path.parent / "whole").write_bytes(whole)
    tensors = load_file(path.parent / "whole")
    from safetensors import safe_open

    with safe_open(path.parent / "whole", framework="numpy") as file:
        header = json.loads(file.metadata()["kanref"])
    header = change(header, tensors) or header
    if isinstance(header, dict):
        header["sha256"] = io.digest(header, tensors)
    save_file(tensors, path, {"kanref": json.dumps(header)})


def newer(header, tensors):
    header["format"] = 2


def unknown_part(header, tensors):
    header["structure"]["layers"][0]["kind"] = "os.system"


def missing_array(header, tensors):
    del tensors["0.spline.W"]


def wrong_shape(header, tensors):
    tensors["0.spline.W"] = tensors["0.spline.W"][:, :, 1:].copy()


def infinite(header, tensors):
    tensors["0.base.W"][0, 0, 0] = np.inf


def huge(header, tensors):
    header["structure"]["layers"][0]["terms"]["map"]["base"]["weights"]["shape"] = [10**9, 2, 10**9]


def no_network(header, tensors):
    header["structure"] = header["structure"]["layers"][0]


def a_list(header, tensors):
    return [1, 2]


def no_model(header, tensors):
    header["extra"] = {}


FORGED = [
    (newer, "format 2, but this kanref reads up to 1; update kanref"),
    (unknown_part, "unknown part 'os.system'"),
    (missing_array, "damaged: its structure cannot be rebuilt .KeyError: '0.spline.W'"),
    (wrong_shape, "damaged.*0.spline.W must have shape"),
    (infinite, "damaged.*0.base.W must be finite"),
    (huge, "damaged"),
    (no_network, "damaged: it holds no network, but Layer"),
    (a_list, "damaged"),
    (no_model, "holds a network but no model .*; use kanref.io.load_network"),
]


@pytest.mark.parametrize("change, message", FORGED)
def test_files_that_cannot_be_are_refused(tmp_path, whole, change, message):
    rewritten(tmp_path / "m", whole, change)
    with pytest.raises(FileError, match=message):
        kanref.load(tmp_path / "m")


def test_foreign_files_are_refused(tmp_path):
    save_file({"a": np.ones(3)}, tmp_path / "deep", {"kanref": "[" * 10**5})
    with pytest.raises(FileError, match="damaged.*RecursionError"):
        kanref.load(tmp_path / "deep")
    save_file({"a": np.ones(3)}, tmp_path / "foreign")
    with pytest.raises(FileError, match="a safetensors file but no kanref model: its metadata has no entry 'kanref'"):
        kanref.load(tmp_path / "foreign")
    (tmp_path / "text").write_text("a,b\n1,2\n")
    with pytest.raises(FileError, match="damaged or no safetensors file"):
        kanref.load(tmp_path / "text")
    for absent in ("nothing", ""):
        with pytest.raises(FileNotFoundError, match="there is no model file"):
            kanref.load(tmp_path / absent)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "m"
    trained().save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="no space left"):
        small(seed=9).save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m"]


def test_saving_replaces_a_file_and_leaves_no_other(tmp_path):
    small().save(tmp_path / "m")
    m = trained()
    m.save(tmp_path / "m")
    same_model(m, kanref.load(tmp_path / "m"))
    assert os.listdir(tmp_path) == ["m"]
    with pytest.raises(FileNotFoundError, match="cannot write .*: the folder .* does not exist; create it first"):
        m.save(tmp_path / "absent" / "m")


def test_an_empty_history_adds_nothing():
    h = trained().history
    for total in (History.empty() + h, h + History.empty()):
        assert_array_equal(total.loss, h.loss)
        assert total.reasons == h.reasons


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "lm"])
def test_history_is_the_loss(optimizer):
    model = Model.build([2, 3, 1], intervals=3)
    trained = model.fit(X, Y, optimizer=optimizer, steps=2)
    assert_allclose(trained.history.loss[0], model.loss(X, Y), rtol=1e-12)


def test_labels_are_checked_by_score():
    model = Model.build([2, 2], task="classification")
    with pytest.raises(ValueError, match="labels must be"):
        model.score(X, np.zeros((len(X), 1), int))
