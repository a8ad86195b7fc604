"""MatrixKAN's layer, asked by its own functions."""

import numpy as np
import torch
from MatrixKANLayer import MatrixKANLayer


def b34():
    layer = MatrixKANLayer(1, 1, num=5, k=3).double()
    t, tensor = np.arange(-3, 9) * 0.4 - 1, lambda a: torch.tensor(a, dtype=torch.float64)
    a, b, c = t[1:-3], t[2:-2], t[3:-1]
    layer.grid.data = tensor(t)[None]
    layer.coef.data = tensor(a * b * c - (a + b + c) / 6)[None, None]
    layer.update_grid_from_samples(tensor(2 * (np.arange(97) / 96) ** 2 - 1)[:, None])
    curve = layer.b_splines_matrix_output(tensor([-0.9, -0.5, 0, 0.5, 0.9])[:, None])
    return {"curve after the update": curve[:, 0, 0].tolist()}
