"""pykan, asked by its own functions."""

import ast
import os
import random
from contextlib import contextmanager
from pathlib import Path

import kan
import numpy as np
import torch
from kan import KAN
from kan.KANLayer import KANLayer
from kan.spline import B_batch, coef2curve, curve2coef
from kan.utils import fit_params, get_derivative

# ----------------------------------------------------------------------------------------------- splines and their fits

WAVE = np.sin(np.arange(8))


def tensor(a):
    return torch.tensor(a, dtype=torch.float64)


def splines(x, knots, degree=3):
    """(N, functions)"""
    return B_batch(tensor(x)[:, None], tensor(knots)[None], k=degree)[:, 0].numpy()


def one_edge(coefficients, intervals, **options):
    """A layer of float64 with these coefficients on a uniform grid of [-1, 1]."""
    made = KANLayer(1, 1, num=intervals, k=3, **options).double()
    made.grid.data = tensor(np.arange(-3, intervals + 4) * 2 / intervals - 1)[None]
    made.coef.data = tensor(coefficients)[None, None]
    return made


def along(layer, x):
    """Its spline at points."""
    return coef2curve(tensor(x)[:, None], layer.grid, layer.coef, 3)[:, 0, 0].detach().numpy()


def cubic(t):
    """Coefficients of x^3 - x/2."""
    a, b, c = t[1:-3], t[2:-2], t[3:-1]
    return a * b * c - (a + b + c) / 6


def size(a):
    return float(np.abs(a).max())


@contextmanager
def in_double():
    """What pykan builds on the way is in torch's default precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def b1():
    B = splines([0, 0.25, 0.75, 1], [0, 0, 0, 0, 0.5, 1, 1, 1, 1])
    return {"row sums": B.sum(1), "at 1/4": B[1]}


def b2():
    layer = one_edge(WAVE, 5, grid_eps=0.0)
    layer.update_grid_from_samples(tensor(np.sort(np.append(np.linspace(-1, 1, 21), np.zeros(20))))[:, None])
    return {"row sums": splines([-0.5, -0.1, 0.1, 0.5], layer.grid[0].tolist()).sum(1)}


def b3():
    built = works(lambda: KAN(width=[1, 1], grid=4, k=0, auto_save=False)(torch.ones(1, 1)))
    return {"built": built, "sum at the end": splines([1.0], np.linspace(-1, 1, 5), 0).sum()}


@in_double()
def b5():
    q, p, m = np.ogrid[:3, :2, :8]
    first, second = 0.3 * np.sin(1 + p + 2 * q + m), np.sin(4 + q.reshape(1, 3, 1) + m)
    i = np.arange(500)
    x, changes, results = tensor(np.stack([np.sin(i), np.cos(1.7 * i)], 1)), [], set()
    for _ in range(10):
        model = KAN(width=[2, 3, 1], grid=5, k=3, base_fun="zero", auto_save=False)
        for layer, W in zip(model.act_fun, (first, second)):
            layer.coef.data = tensor(W.transpose(1, 0, 2))
            layer.scale_sp.data[:] = 1
            layer.grid.data = tensor(np.tile(np.arange(-3, 9) * 0.4 - 1, (len(layer.grid), 1)))
        y = model(x).detach()
        z = model.refine(20)(x).detach()
        changes.append(((z - y).abs().max() / y.abs().max()).item())
        results.add(z.numpy().tobytes())
    return {"largest change": max(changes), "different results": len(results)}


def b6():
    layer, x = one_edge(WAVE, 5), np.linspace(-0.5, 0.5, 100)
    y, errors = along(layer, x), []
    for _ in range(20):
        layer.coef.data = curve2coef(tensor(x)[:, None], tensor(y)[:, None, None], layer.grid, 3)
        errors.append(size(along(layer, x) - y))
    return {"error on the samples": max(errors)}


@in_double()
def b8():
    coarse, fine, x = one_edge(WAVE, 5), one_edge(np.zeros(13), 10), np.linspace(-1, 1, 201)
    fine.initialize_grid_from_parent(coarse, tensor(x)[:, None], mode="grid")
    return {"largest change": size(along(fine, x) - along(coarse, x))}


def b9():
    samples = np.random.default_rng(58).uniform(-1, 1, 100)
    coarse, fine, x = one_edge(np.sin(np.arange(10)), 7), one_edge(np.zeros(53), 50), np.linspace(-1, 1, 2001)
    y = tensor(along(coarse, samples))[:, None, None]
    fine.coef.data = curve2coef(tensor(samples)[:, None], y, fine.grid, 3)
    x = x[(samples.min() < x) & (x < samples.max())]
    return {
        "error between the samples": size(along(fine, x) - along(coarse, x)),
        "largest coefficient": size(fine.coef.detach().numpy()),
    }


def b10():
    x, changes = np.linspace(-1, 1, 101), []
    for scale in (0.5, -2.0):
        layer = one_edge(cubic(np.arange(-3, 9) * 0.4 - 1), 5)
        layer.scale_base.data[:], layer.scale_sp.data[:] = 0, scale
        layer.update_grid_from_samples(tensor(x)[:, None])
        y = scale * (x**3 - x / 2)
        changes.append(size(layer(tensor(x)[:, None])[0][:, 0].detach().numpy() - y) / size(y))
    return {"change of each edge": changes}


def b34():
    layer = one_edge(cubic(np.arange(-3, 9) * 0.4 - 1), 5)
    layer.update_grid_from_samples(tensor(2 * (np.arange(97) / 96) ** 2 - 1)[:, None])
    return {"curve after the update": along(layer, np.array([-0.9, -0.5, 0, 0.5, 0.9]))}


# ------------------------------------------------------------------------------------- formulas, models, penalties

AFFINE = "subnode_scale", "subnode_bias", "node_scale", "node_bias"


def formulas(width, edges, **options):
    """A model in float64 whose edges (l, i, j), input i to sum j of layer l, are (name, a, b, c, d): c f(a x + b) + d."""
    made = KAN(width=width, auto_save=False, **options).double()
    for (l, i, j), (name, *affine) in edges.items():
        made.fix_symbolic(l, i, j, name, fit_params_bool=False, log_history=False)
        made.symbolic_fun[l].affine.data[j, i] = torch.tensor(affine, dtype=torch.float64)
    return made


def at(model, *points, **options):
    """The first output at points."""
    return model(torch.tensor(points, dtype=torch.float64), **options)[:, 0].tolist()


def works(action):
    try:
        action()
    except Exception:
        return False
    return True


def value(expression, variables, *numbers):
    return float(expression.subs(dict(zip(variables, numbers))))


def b17():
    edges = {(0, 0, j): ("x", 1.0, 0.0, 1.0, (j + 1) / 10) for j in range(6)}
    edges |= {(1, i, 0): ("x", 1.0, 0.0, 1.0, 0.0) for i in range(2)}
    model = formulas([1, [0, 2], 1], edges, mult_arity=3)
    (expression,), variables = model.symbolic_formula()
    return {"model": at(model, [0.5])[0], "formula": value(expression, variables, 0.5)}


def b18():
    model = KAN(width=[1, 1], grid=3, k=3, base_fun="zero", auto_save=False).double()
    layer = model.act_fun[0]
    layer.scale_sp.data[:] = 1
    layer.coef.data[0, 0] = torch.tensor([(m - 2.5) * 2 / 3 for m in range(6)])
    refuses = lambda: not works(model.symbolic_formula) or model.symbolic_formula() is None
    refused = [refuses()]
    model(torch.linspace(-1, 1, 21, dtype=torch.float64)[:, None])
    model.suggest_symbolic(0, 0, 0, verbose=False)
    refused.append(refuses())
    model = formulas([2, 1], {(0, 0, 0): ("x^2", 1.0, 0.0, 1.0, 0.0), (0, 1, 0): ("x", 1.0, 0.0, 1.0, 0.0)})
    model.remove_node(0, 0, mode="up", log_history=False)
    (expression,), variables = model.symbolic_formula()
    return {
        "refuses a spline": refused[0],
        "also after suggestions": refused[1],
        "model with x1^2 masked": at(model, [0.5, 0.25])[0],
        "its formula": value(expression, variables, 0.5, 0.25),
    }


def b19():
    def edge(name, *points):
        model = formulas([1, 1], {(0, 0, 0): (name, 1.0, 0.0, 1.0, 0.0)})
        return at(model, *([x] for x in points), singularity_avoiding=True, y_th=10.0)

    below, there, negative = edge("sqrt", 0.01 - 1e-9, 0.01, -1.0)
    return {
        "sqrt below and at 1/100": [below, there],
        "a value for sqrt(-1)": bool(np.isfinite(negative)),
        "exp(3)": edge("exp", 3.0, 0.0)[0],
        "tan evaluates": works(lambda: edge("tan", 0.5, 0.25)),
        "x^1.5 evaluates": works(lambda: edge("x^1.5", 0.5, 0.25)),
        "own function evaluates": works(lambda: edge(lambda x: 1 / (1 + x**2), 0.5, 0.25)),
    }


def b20():
    x = torch.tensor([np.pi * (i - 100) / 100 for i in range(201)])
    found = [fit_params(x, A * torch.sin(x), torch.sin, verbose=False)[1].item() for A in (1, 1e-2, 1e-3, 1e-4)]
    return {"R^2": found, "above 1": max(found) > 1}


def b21():
    edges = {(0, 0, 0): ("x^2", 1.0, 0.0, 1.0, 0.0), (0, 0, 1): ("x^3", 1.0, 0.0, 1.0, 0.0)}
    edges |= {(1, 0, 0): ("x", 1.0, 0.0, 1.0, 0.0), (1, 1, 0): ("x", 1.0, 0.0, 2.0, 0.0)}
    model = formulas([1, 2, 1], edges)
    before = at(model, [0.5])[0]
    model.swap(1, 0, 1, log_history=False)
    return {"before": before, "after": at(model, [0.5])[0]}


def b22():
    model = formulas([2, 1], {(0, i, 0): ("x", 1.0, 0.0, float(i), 0.0) for i in range(2)})
    point = [[0.25, 0.75], [0.0, 0.5]]
    at(model, *point)
    pruned = model.prune_input(active_inputs=[1], log_history=False).double()
    before = at(pruned, *point)[0]
    (expression,), variables = pruned.symbolic_formula()
    name = str(*expression.free_symbols)
    twice = works(pruned.get_act)
    pruned.saveckpt("pruned")
    loads = works(lambda: KAN.loadckpt("pruned"))
    del pruned.base_fun_name
    pruned.base_fun_name = "silu"  # by hand, to see what else a file keeps
    pruned.saveckpt("pruned")
    return {
        "before saving": before,
        "loads": loads,
        "after loading": at(KAN.loadckpt("pruned").double(), *point)[0],
        "evaluates twice": twice,
        "column in the formula": int(name.strip("x_")),
    }


def b23():
    model = KAN(width=[1, np.int64(2), 1], grid=3, k=3, auto_save=False)
    model.saveckpt("numbers")
    return {"loads": works(lambda: KAN.loadckpt("numbers"))}


def b24():
    settings = {"grid_eps": 0.5, "grid_range": [-2, 2], "sp_trainable": False, "sb_trainable": False}
    settings |= {"affine_trainable": True, "symbolic_enabled": False}
    model = KAN(width=[1, 2, 1], base_fun="identity", auto_save=False, **settings).double()
    for layer in model.act_fun:
        layer.coef.data[:] = 0
        layer.scale_base.data[:] = 1
    before = at(model, [0.5], [-0.5])[0]
    pruned = model.prune_node(active_neurons_id=[[0]], log_history=False).double()
    return {
        "original before": before,
        "original after": at(model, [0.5], [-0.5])[0],
        "pruned": at(pruned, [0.5], [-0.5])[0],
        "settings changed": sum(getattr(pruned, name) != own for name, own in settings.items()),
    }


def b25():
    model = formulas([2, 1], {(0, i, 0): ("x", 1.0, 0.0, 1.0, 0.0) for i in range(2)})
    t = torch.linspace(-1, 1, 21, dtype=torch.float64)
    x, other = torch.stack([t, t / 3], 1), torch.stack([t / 3, t], 1)
    data = {"train_input": x, "train_label": x.sum(1)[:, None]}
    data |= {"test_input": other, "test_label": other.sum(1)[:, None]}
    model.fit(data, opt="Adam", steps=1, update_grid=False)
    model.attribute()
    return {"scores of inputs": model.node_scores[0].tolist()}


def b26():
    def streams():
        _, key, place, *_ = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), (key.tolist(), place), random.getstate()

    def changed(action):
        before = streams()
        made = action()
        return made, sum(a != b for a, b in zip(before, streams()))

    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(123)
    model, build = changed(lambda: KAN(width=[1, 1], auto_save=False))
    x = torch.linspace(-1, 1, 21)[:, None]
    data = {"train_input": x, "train_label": x**2, "test_input": x, "test_label": x**2}
    return {"changed by a constructor": build, "by a step": changed(lambda: model.fit(data, steps=1))[1]}


def b27():
    before = set(os.listdir())
    KAN(width=[1, 1])
    written = sum(len(files) for name in set(os.listdir()) - before for _, _, files in os.walk(name))
    model = KAN(width=[1, 1], mult_arity=[[], []], auto_save=False)
    x = torch.linspace(-1, 1, 5)[:, None]
    model(x)
    options = {"derivative": "jacobian", "reg_metric": "edge_forward_spline_n"}
    derived = lambda mode: works(lambda: get_derivative(model, x, x, loss_mode=mode, **options))
    penalty, both = derived("reg"), derived("all")
    model.expand_depth()
    kept = model.state_dict().keys()
    return {
        "derivative of the penalty": penalty,
        "of loss and penalty": both,
        "affine arrays kept of a new layer": sum(f"{name}_1" in kept for name in AFFINE),
        "files written by a constructor": written,
    }


def b28():
    def penalty(l1, entropy, *weights):
        model = KAN(width=[1, len(weights)], base_fun="identity", auto_save=False).double()
        model.act_fun[0].coef.data[:] = 0
        model.act_fun[0].scale_base.data = torch.tensor([weights], dtype=torch.float64)
        at(model, [1.0], [-1.0])
        return model.reg("edge_forward_spline_n", l1, entropy, 0.0, 0.0).item()

    torch.manual_seed(0)
    w = KANLayer(64, 64).scale_base
    return {
        "L1 of 3x and -x": penalty(1.0, 0.0, 3.0, -1.0),
        "their entropy": penalty(0.0, 1.0, 3.0, -1.0),
        "1024 times as large": penalty(0.0, 1.0, 3072.0, -1024.0),
        "of one edge": penalty(0.0, 1.0, 3.0),
        "w_b beyond 3 sigma": bool((w.abs() > 3 * w.std()).any()),
    }


def b29():
    model = formulas([1, 1], {(0, 0, 0): ("x", 1.0, 0.0, 1.0, 0.0)})
    there = at(model, [0.5], [0.25])[0]
    return {"at 1/2": there, "refuses (1/2, 7)": not works(lambda: at(model, [0.5, 7.0], [0.25, 7.0]))}


def b33():
    folder = Path(kan.__file__).parent
    parts = [
        ast.parse(path.read_text("utf-8")).body for path in (*folder.rglob("test_*.py"), *folder.rglob("*_test.py"))
    ]
    tests = sum(isinstance(node, ast.FunctionDef) and node.name.startswith("test") for part in parts for node in part)
    return {"a wrong answer fails": tests > 0, "tests": tests}
