"""fast-kan, asked by its own functions."""

import torch
from fastkan import FastKANLayer


def b32():
    layer = FastKANLayer(2, 1, use_base_update=False).double()
    layer.spline_linear.weight.data[:] = 0
    layer.spline_linear.weight.data[0, :8] = 1 / (1 + torch.arange(8.0))
    y = layer(torch.tensor([[0.5, 0.0], [0.5, 1.0]], dtype=torch.float64))[:, 0].tolist()
    B = layer.rbf(torch.tensor([0.25], dtype=torch.float64))
    return {"change of phi(x1) with x2": y[1] - y[0], "sum of the basis at 1/4": B.sum().item()}
