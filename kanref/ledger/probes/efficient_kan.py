"""efficient-kan, asked by its own functions."""

import numpy as np
import torch
from efficient_kan import KANLinear

# ----------------------------------------------------------------------------------------------- splines and their fits

WAVE = np.sin(np.arange(8))


def tensor(a):
    return torch.tensor(a, dtype=torch.float64)


def linear(intervals=5, outputs=1, **options):
    """A KANLinear of float64 and one input, on the grid of [-1, 1]."""
    made = KANLinear(1, outputs, intervals, **options).double()
    made.grid.copy_(tensor(np.arange(-3, intervals + 4) * 2 / intervals - 1))
    return made


def splines(layer, x):
    """(N, functions)"""
    return layer.b_splines(tensor(x)[:, None])[:, 0].detach().numpy()


def size(a):
    return float(np.abs(a).max())


def b1():
    layer = linear(2)
    layer.grid.copy_(tensor([0, 0, 0, 0, 0.5, 1, 1, 1, 1]))
    B = splines(layer, [0, 0.25, 0.75, 1])
    return {"row sums": B.sum(1), "at 1/4": B[1]}


def b2():
    layer = linear(grid_eps=0.0)
    layer.update_grid(tensor(np.sort(np.append(np.linspace(-1, 1, 21), np.zeros(20))))[:, None])
    return {"row sums": splines(layer, [-0.5, -0.1, 0.1, 0.5]).sum(1)}


def b3():
    try:
        built = KANLinear(1, 1, 4, spline_order=0)(torch.ones(1, 1)).isfinite().all().item()
    except Exception:
        built = False
    layer = linear(4)
    layer.spline_order, layer.grid = 0, tensor(np.linspace(-1, 1, 5))[None]
    return {"built": built, "sum at the end": splines(layer, [1.0]).sum()}


def b6():
    layer, x = linear(), np.linspace(-0.5, 0.5, 100)
    B = splines(layer, x)
    refit = lambda: layer.curve2coeff(tensor(x)[:, None], tensor(B @ WAVE)[:, None, None])[0, 0].detach().numpy()
    return {"error on the samples": max(size(B @ (refit() - WAVE)) for _ in range(20))}


def b9():
    samples = np.random.default_rng(58).uniform(-1, 1, 100)
    coarse, fine, wave, x = linear(7), linear(50), np.sin(np.arange(10)), np.linspace(-1, 1, 2001)
    y = tensor(splines(coarse, samples) @ wave)[:, None, None]
    c = fine.curve2coeff(tensor(samples)[:, None], y)[0, 0].detach().numpy()
    x = x[(samples.min() < x) & (x < samples.max())]
    return {
        "error between the samples": size(splines(fine, x) @ c - splines(coarse, x) @ wave),
        "largest coefficient": size(c),
    }


def b10():
    t, x = np.arange(-3, 9) * 0.4 - 1, np.linspace(-1, 1, 101)
    a, b, c = t[1:-3], t[2:-2], t[3:-1]
    layer, scales = linear(outputs=2), np.array([0.5, -2.0])
    layer.base_weight.data[:] = 0
    layer.spline_weight.data[:] = tensor(a * b * c - (a + b + c) / 6)
    layer.spline_scaler.data[:] = tensor(scales)[:, None]
    layer.update_grid(tensor(x)[:, None])
    y, curves = layer(tensor(x)[:, None]).detach().numpy(), np.outer(x**3 - x / 2, scales)
    return {"change of each edge": np.abs(y - curves).max(0) / np.abs(curves).max(0)}


# ------------------------------------------------------------------------------------------------ scales and penalties


def b11():
    def layer(inputs, **options):
        torch.manual_seed(0)
        return KANLinear(inputs, inputs, **options)

    size = lambda scale: layer(16, scale_spline=scale).scaled_spline_weight.abs().mean().item()
    flat = layer(2).double()
    flat.spline_weight.data[:] = 1
    flat.spline_scaler.data[:] = 1
    before = flat.regularization_loss(1, 0).item()
    flat.spline_scaler.data[:] = 1e-3
    after = flat.regularization_loss(1, 0).item()
    flat.spline_weight.data[0, 0] = 0
    return {
        "size at scale 1/2, 2, 10": [size(scale) / size(1) for scale in (0.5, 2, 10)],
        "entropy with an edge at 0": flat.regularization_loss(0, 1).item(),
        "penalty of a thousandth": after / before,
    }
