"""FlashKAN's layer, asked by its own backward pass."""

import numpy as np
import torch
from FlashKAN import FlashKAN


def b15():
    layer = FlashKAN(1, 1, 5).double()  # order 4 is degree 3; the last row of w is for its base function
    t = np.array([-1.0] * 4 + [-0.6, -0.2, 0.2, 0.6] + [1.0] * 4)
    a, b, c = t[1:-3], t[2:-2], t[3:-1]
    layer.t.copy_(torch.tensor(t))
    layer.w.data[:] = 0
    layer.w.data[: len(a), 0, 0] = torch.tensor(a * b * c - (a + b + c) / 6)
    x = torch.tensor([[-0.7], [0.1], [0.1], [0.5]], dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    return {"by x": x.grad[:, 0].tolist(), "by the weights, summed": layer.w.grad[: len(a)].sum().item()}
