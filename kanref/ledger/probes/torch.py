"""torch.linalg.lstsq, which pykan, efficient-kan, KANLib and MatrixKAN refit by."""

import numpy as np
import torch


def b4():
    A, b, answers = torch.tensor([[0.0, 1.0]] * 3, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64), []
    for n in range(20):
        used = [torch.full((m,), n % 3, dtype=torch.int32) for m in (1, 2, 3, 4, 8, 2, 2, 2)]
        del used  # memory that somebody has written to
        answers.append(tuple(torch.linalg.lstsq(A, b).solution[:, 0].tolist()))
    return {"answers": sorted(set(answers)), "right of 20": answers.count((0.0, 1.0))}


def b7():
    x, t = np.repeat([-0.9, -0.5, -0.1, 0.3, 0.6, 0.9], 20)[:, None], np.arange(-3, 9) * 0.4 - 1
    B = ((x >= t[:-1]) & (x < t[1:])).astype(float)
    for d in range(1, 4):
        rising, falling = (x - t[: -d - 1]) / (t[d:-1] - t[: -d - 1]), (t[d + 1 :] - x) / (t[d + 1 :] - t[1:-d])
        B = rising * B[:, :-1] + falling * B[:, 1:]
    A, wave = torch.tensor(B), torch.sin(torch.arange(8, dtype=torch.float64))[:, None]
    c = torch.linalg.lstsq(A, A @ wave, driver="gels").solution
    return {"length": c.norm().item(), "error on the samples": (A @ (c - wave)).abs().max().item()}
