"""The MLP is a KAN: against a plain NumPy MLP, forward, backward and derivatives; counts, starts and messages."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref import bases
from kanref.check import check_objective
from kanref.mlp import ACTIVATIONS, mlp, start
from kanref.model import Model
from kanref.network import KAN
from kanref.objectives import collocation, mse

PLAIN = {  # sigma and its derivative, as a textbook writes them
    "tanh": (np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "silu": (lambda x: x / (1 + np.exp(-x)), lambda x: (1 + np.exp(-x) + x * np.exp(-x)) / (1 + np.exp(-x)) ** 2),
    "sin": (np.sin, np.cos),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
    "relu": (lambda x: x * (x.real > 0), lambda x: (x > 0) * 1.0),
}
WIDTHS = [3, 5, 4, 2]
every_activation = pytest.mark.parametrize("activation", PLAIN)


def matrices(net, theta):
    """[(W, b)] of the layers."""
    views = net.split(theta)
    return [(views[f"{l}.linear.W"][..., 0], views[f"{l}.bias"]) for l in range(len(net.layers))]


def plain_mlp(layers, sigma, x):
    """x -> A_0, then sigma and A_l: rows are samples; any dtype."""
    for l, (W, b) in enumerate(layers):
        x = (sigma(x) if l else x) @ W.T + b
    return x


def plain_backward(layers, sigma, slope, x, y):
    """Gradient of the mean squared error by the textbook's recursion, [(W_bar, b_bar)]."""
    inputs = [x]
    for l, (W, b) in enumerate(layers):
        inputs.append((sigma(inputs[-1]) if l else inputs[-1]) @ W.T + b)
    delta, gradients = 2 * (inputs[-1] - y) / y.size, []
    for l in reversed(range(len(layers))):
        a = sigma(inputs[l]) if l else inputs[l]
        gradients.insert(0, (delta.T @ a, delta.sum(0)))
        delta = delta @ layers[l][0] * (slope(inputs[l]) if l else 1)
    return gradients


@every_activation
def test_values_and_gradients_are_those_of_a_plain_mlp(activation):
    rng = np.random.default_rng(0)
    net, (sigma, slope) = mlp(WIDTHS, activation), PLAIN[activation]
    theta, x, y = rng.normal(size=net.size), rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    layers = matrices(net, theta)
    assert_allclose(net(theta, x), plain_mlp(layers, sigma, x), rtol=1e-12, atol=1e-13)
    gradient = matrices(net, mse(net, x, y)(theta)[1])
    for ours, theirs in zip(gradient, plain_backward(layers, sigma, slope, x, y), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert_allclose(a, b, rtol=1e-11, atol=1e-13)


@every_activation
def test_input_derivatives_are_the_complex_step(activation):
    """First derivatives by Im f(x + i h)/h; second ones as that of the gradient of a plain MLP."""
    rng = np.random.default_rng(1)
    net, sigma = mlp(WIDTHS, activation), PLAIN[activation][0]
    theta, x = rng.normal(size=net.size), rng.normal(size=(6, 3))
    layers, h = matrices(net, theta), 1e-30
    for i in range(3):
        moved = plain_mlp(layers, sigma, x + 1j * h * np.eye(3)[i])
        assert_allclose(net.gradient(theta, x)[..., i], moved.imag / h, rtol=1e-12, atol=1e-13)
    h = 1e-5
    second = [net.gradient(theta, x + h * e) - net.gradient(theta, x - h * e) for e in np.eye(3)]
    assert_allclose(net.hessian(theta, x), np.stack(second, -1) / (2 * h), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("activation", ["tanh", "silu", "sin", "sigmoid"])
def test_equations_and_jacobian_rows_work_as_for_kans(activation):
    rng = np.random.default_rng(2)
    net = mlp([2, 4, 3, 1], activation)
    theta, x = start(net, 2), rng.uniform(-1, 1, (9, 2))

    def poisson(x, u, u_i, u_ij):
        r_uij = np.broadcast_to(np.eye(2), u_ij.shape)
        return u_ij[:, 0, 0, 0] + u_ij[:, 0, 1, 1] - x.sum(1), (None, None, r_uij)

    objective = collocation(net, x, poisson)
    check_objective(objective, theta, rng)
    r, J = objective.residuals(theta)
    assert_allclose(2 * J.T @ r, objective(theta)[1], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "widths, count",
    [([2, 5, 1], 21), ([2, 100, 100, 100, 100, 1], 30701), ([17, 300, 300, 300, 300, 14], 280514), ([4, 2], 10)],
)
def test_parameter_counts(widths, count):
    """sum (n_l + 1) n_{l+1}; Liu et al. call the second "~10^4" (Fig. 3.3), the third "3 10^5" (knots)."""
    assert mlp(widths).size == count


def test_an_mlp_is_an_ordinary_network():
    net = mlp([2, 5, 5, 1])
    assert isinstance(net, KAN) and net.widths == (2, 5, 5, 1)
    assert [layer.terms["linear"].basis for layer in net.layers] == [bases.identity, bases.tanh, bases.tanh]
    assert mlp([2, 5, 1], bases.sin).layers[1].terms["linear"].basis is bases.sin


def test_the_start_is_uniform_within_one_over_root_inputs():
    net = mlp([100, 50, 40])
    theta = start(net, 3)
    for P, (W, b) in zip((100, 50), matrices(net, theta), strict=True):
        for a in (W, b):
            assert np.abs(a).max() <= P**-0.5
            assert_allclose(a.std(), (3 * P) ** -0.5, rtol=0.2)
    assert_array_equal(theta, start(net, np.random.default_rng(3)))
    assert (theta != start(net, 4)).any()


def test_a_model_of_an_mlp_trains_and_is_saved(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (200, 1))
    y = np.sin(3 * X[:, 0])
    net = mlp([1, 6, 6, 1])
    model = Model(net, start(net, 0)).fit(X, y, optimizer="lm", steps=60, progress=False)
    assert model.rmse(X, y) < 1e-4  # sixty steps for 61 parameters; a straight line leaves 0.4
    model.save(tmp_path / "mlp.safetensors")
    assert_array_equal(Model.load(tmp_path / "mlp.safetensors").predict(X), model.predict(X))


@pytest.mark.parametrize(
    "widths, activation, message",
    [
        ([3], "tanh", "widths must list at least inputs and outputs, as [2, 100, 100, 1], but it is [3]"),
        (5, "tanh", "widths must list at least inputs and outputs"),
        ([2, 0, 1], "tanh", "widths[1] must be from 1 to 1000000, but it is 0"),
        ([10**6, 10**6], "tanh", "make 1.0e+12 parameters; at most 2e+08 are allowed"),
        ([2, 1], "gelu", "activation must be one of 'tanh', 'silu', 'sin', 'sigmoid', 'relu', but it is 'gelu'"),
    ],
)
def test_messages(widths, activation, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mlp(widths, activation)


def test_activations_know_their_names():
    assert all(function.name == name for name, function in ACTIVATIONS.items())
