"""Why an answer is wrong: the entry that is furthest off, where it lies, and the convention that the answer would fit.

Conventions are tried in two ways. The expected arrays are changed: transposed, turned round, shifted by one, multiplied by
a number. And the question is: kanref's own adapter is asked for another policy, rule, metric or network. What a library is
known for is called by its row of the ledger: "as pykan 0.2.8 (ledger B1)".
"""

import re
from itertools import permutations
from math import factorial

import numpy as np

from kanref.conventions import half_open as wiped
from kanref.golden.protocol import AFFINE, OPERATIONS, TUCKER
from kanref.golden.protocol import objective as function
from kanref.golden.second import FUNCTIONS
from kanref.grids.rules import RULES
from kanref.sparsify.attribution import METHODS, SCORES
from kanref.sparsify.metrics import METRICS

NAMES = {0.5: "half", 2.0: "twice", -1.0: "minus"}
OUTSIDE = "zero", "linear", "clamp"
KNOWN = {  # words of an explanation: who gives such answers, and the row of `kanref.ledger` that shows it
    "0/0 in one term wipes out the sum": "pykan 0.2.8 (ledger B1)",
    "without a guard for 0/0": "efficient-kan and jaxKAN (ledger B2)",
    "0/0 in the recursion": "pykan 0.2.8 in derivatives, efficient-kan and jaxKAN (ledger B1, B2)",
    "half-open spans": "pykan 0.2.8, efficient-kan and jaxKAN (ledger B3)",
    "degree 0 is refused": "by pykan 0.2.8 and efficient-kan (ledger B3)",
    "a solver that gives up": "torch.linalg.lstsq on a CPU, so pykan 0.2.8 and efficient-kan (ledger B4, B6)",
    "normal equations without full rank": "jaxKAN 0.3.7 (ledger B13)",
    "scales applied twice to new weights": "efficient-kan (ledger B10)",
    "magnitudes that no gradient passes": "pykan 0.2.8 with edge_forward_sum",
    "refused where edges get scores": "by pykan 0.2.8 (RuntimeError)",
}


@np.errstate(all="ignore")
def explained(case, dtype, found, expected, special=""):
    """One or two sentences about a wrong answer; special: its `symptom`, if it is one."""
    for name, exact in expected.items():
        wrong = ~np.isfinite(found[name])
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            text = f"{place(case, name, at)} is {found[name][at]}, expected {exact[at]:.6g}; "
            text += f"{int(wrong.sum())} entries are not finite"
            return text + (fitting(case, dtype, found, expected, special) or special)
    name, at = furthest(found, expected)
    bound = case.ulps[dtype] * np.finfo(dtype).eps
    off = sum(int((np.abs(found[n] - e) > bound * (np.abs(e).max(initial=0) or 1)).sum()) for n, e in expected.items())
    total = sum(e.size for e in expected.values())
    text = f"{place(case, name, at)} is {found[name][at]:.9g}, expected {expected[name][at]:.9g}; "
    return text + f"{off} of {total} entries are off" + (special or fitting(case, dtype, found, expected, special))


def furthest(found, expected):
    """The name and index of the entry that is furthest off, relative to its array."""
    far = lambda name: np.abs(found[name] - expected[name]) / (np.abs(expected[name]).max(initial=0) or 1)
    name = max(expected, key=lambda name: far(name).max(initial=0))
    return name, tuple(int(i) for i in np.unravel_index(np.argmax(far(name)), expected[name].shape))


def place(case, name, at):
    """An entry in words: result[3, 1] (point 3, function 1; x = 0.5, the right edge of the domain)."""
    axes = OPERATIONS[case.operation].axes
    axes = axes.get(name.split(".")[-1], ()) if isinstance(axes, dict) else axes
    words = [f"{axis} {i}" for axis, i in zip(axes, at)]
    if case.operation in ("bspline", "power_relu"):
        words.append(_position(case.arguments(), at[0]))
    return f"{name}{list(at) if at else ''}" + (f" ({', '.join(words)})" if words else "")


def _position(inputs, n):
    x, t, d = inputs["x"][n], inputs["knots"], inputs["degree"]
    low, high = t[d], t[-d - 1]
    if x in (low, high):
        where = f"the {'left' if x == low else 'right'} edge of the domain"
    elif not low < x < high:
        where = f"outside the domain [{low:g}, {high:g}]"
    else:
        where = "an inner knot" if x in t else "between knots"
    return f"x = {x:g}, {where}"


# ------------------------------------------------------------------------------------------------------- known defects


def known(sentence):
    """A sentence, and who is known for it."""
    return sentence + next((f", as {who}" for words, who in KNOWN.items() if words in sentence), "")


def rows(text):
    """The rows of the ledger that an explanation names, ("B1", "B2") for "(ledger B1, B2)"."""
    return tuple(row for names in re.findall(r"\(ledger (.*?)\)", text) for row in names.split(", "))


def symptom(case, found=None):
    """What a case has that known defects come from, if the answer (None: something was raised) looks like one of them; after a
    semicolon, or nothing. Whether the answers to other cases look better, `kanref.golden.conformance.peculiar` finds out."""
    inputs = case.arguments()
    layers = inputs.get("network", [inputs])
    if found is None:
        if "network" in inputs and any(layer.get("degree") == 0 for layer in layers):
            return known("; degree 0 is refused")
        mixed = any(len({arity for arity in layer.get("arity", ()) if arity > 1}) > 1 for layer in layers)
        scored = mixed and case.operation in ("attribution", "magnitudes")
        return known("; products of different arities are refused where edges get scores") if scored else ""
    lost, nothing = sign(found) == "NaN", sign(found) == "zero"
    if lost and any(_coincide(layer) for layer in layers):
        return known("; where knots coincide, it is 0/0 in the recursion")
    if case.operation == "refit" and _lacks_rank(inputs):
        if lost:
            return known("; some functions have no samples: it is normal equations without full rank")
        if nothing:
            return known("; some functions have no samples, and all is zero: it is a solver that gives up")
    if case.operation == "penalty" and inputs["metric"] == "edge_forward_sum" and nothing:
        return known("; there is no gradient: it is magnitudes that no gradient passes")
    return ""


def sign(found):
    """How an answer, or its gradient, is wrong at a glance: "raised" (None), "NaN", "zero"; or empty."""
    if found is None:
        return "raised"
    if any(np.isnan(a).any() for a in found.values()):
        return "NaN"
    return "" if any(a.any() for name, a in found.items() if name != "value") else "zero"


def _coincide(layer):
    """Whether a B-spline of lower degree has no support: where 0/0 comes up."""
    return "knots" in layer and bool((np.diff(layer["knots"]) == 0).any())


def _lacks_rank(inputs):
    """Whether some new function has no samples."""
    t, d, x = inputs["new_knots"], inputs["degree"], inputs["samples"]
    return x is not None and any(not ((a < x) & (x < b)).any() for a, b in zip(t, t[d + 1 :]))


# --------------------------------------------------------------------------------------------------------- conventions


def fitting(case, dtype, found, expected, special):
    """What the answer is instead, after a semicolon: rounding, another convention, a multiple, single precision; or nothing.
    A convention that gives no numbers at all fits only what is `special` without them."""
    bound = 8 * case.ulps[dtype] * np.finfo(dtype).eps
    fits = lambda arrays, other: all(_near(arrays[name], other.get(name), bound) for name in expected)
    if fits(found, expected):
        return "; it is rounding, not far beyond the tolerance"
    for sentence, other in conventions(case, expected):
        told = special or any(np.isfinite(a).any() for a in other.values())
        if told and fits(found, other) and not fits(expected, other):
            return known(f"; it would fit {sentence}")
    if text := factors(found, expected, bound):
        return f"; {text} what is expected"
    if dtype == "float64" and all(_near(found[name], exact, 1e-5) for name, exact in expected.items()):
        return "; it agrees to single precision: somewhere numbers are, or pass through, float32"
    return ""


def _near(found, other, bound):
    if other is None or np.shape(other) != found.shape or (np.isfinite(found) != np.isfinite(other)).any():
        return False
    there = np.isfinite(found)
    if not np.array_equal(found[~there], other[~there], equal_nan=True):
        return False
    return np.abs(found[there] - other[there]).max(initial=0) <= bound * (np.abs(other[there]).max(initial=0) or 1)


def factors(found, expected, bound):
    """As "it is twice" or "matrix is half", if every array that is wrong is a number times what is expected; else empty."""
    wrong = [name for name in expected if not _near(found[name], expected[name], bound)]
    if not any(found[name].any() for name in wrong):
        return f"{', '.join(wrong)} is zero everywhere, not"
    numbers = {name: common_factor(found[name], expected[name]) for name in wrong}
    if None in numbers.values():
        return ""
    word = lambda c: NAMES.get(round(c, 5), f"{c:.6g} times")
    if len(wrong) == len(expected) and np.ptp(list(numbers.values())) <= 1e-5 * abs(numbers[wrong[0]]):
        return f"it is {word(numbers[wrong[0]])}"
    return ", ".join(f"{name} is {word(c)}" for name, c in numbers.items())


def common_factor(a, b):
    """c if a = c b within 1e-5, c not 1 and not 0; else None."""
    a, b = a.ravel(), b.ravel()
    if not b.any() or not np.isfinite(a).all():
        return None
    c = float(a @ b / (b @ b))
    fits = np.abs(a - c * b).max() <= 1e-5 * abs(c) * np.abs(b).max()
    return c if fits and abs(c) > 1e-8 and abs(c - 1) > 1e-3 else None


def conventions(case, expected):
    """Pairs of a sentence and the arrays that it would give, cheapest first."""
    yield from turned(expected)
    special = {"bspline": _of_splines, "jet": _of_jets, "adam": _of_adam, "lbfgs": _of_lbfgs, "hosvd": _of_hosvd}
    special |= {"forward": _of_recursions}
    inputs = case.arguments()
    if case.operation in special:
        yield from special[case.operation](inputs, expected)
    from kanref.golden.adapters import kanref  # the question changed: other arguments for what is known to be right

    if "objective" in inputs:
        inputs["objective"] = function(inputs["objective"])
    for sentence, changes in questions(case.operation, inputs):
        try:
            answer = getattr(kanref, case.operation)(**{**inputs, **changes})
        except Exception:  # a question that makes no sense for this case
            continue
        yield (
            sentence,
            {k: np.asarray(v) for k, v in (answer if isinstance(answer, dict) else {"result": answer}).items()},
        )


def turned(expected):
    """Axes exchanged, reversed, shifted by one."""
    most = max((e.ndim for e in expected.values()), default=0)
    for axes in list(permutations(range(most)))[1:]:
        every = {n: e.transpose(axes) if e.ndim == most else e for n, e in expected.items()}
        yield f"axes in the order {axes}", every
    for axis in range(most):
        moved = lambda change, axis=axis: {n: change(e) if e.ndim > axis else e for n, e in expected.items()}
        if all(e.shape[axis] > 1 for e in expected.values() if e.ndim > axis):
            yield f"axis {axis} in reverse order", moved(lambda e, axis=axis: np.flip(e, axis))
            for step in (1, -1):
                yield f"axis {axis} shifted by {step}", moved(lambda e, axis=axis, step=step: np.roll(e, step, axis))


def questions(operation, inputs):
    """Sentences and changed arguments."""
    if operation == "bspline":
        yield from ((f"outside={o!r}", {"outside": o}) for o in OUTSIDE if o != inputs["outside"])
    if operation in ("bspline", "base_function", "function", "chebyshev", "power_relu"):
        yield from ((f"the derivative of order {k}", {"order": k}) for k in range(4) if k != inputs["order"])
    if operation == "update" and any("scale" in layer for layer in inputs["network"]):
        again = [{**layer, "scale": layer["scale"] ** 2} for layer in inputs["network"] if "scale" in layer]
        yield "scales applied twice to new weights", {"network": again}
    if operation == "grid_update":
        yield from ((f"rule {r!r}", {"rule": r, "mix": inputs["mix"]}) for r in RULES if r != inputs["rule"])
        yield "mix 1 (uniform)", {"mix": 1.0}
        yield "mix 0 (adaptive)", {"mix": 0.0}
    if operation in ("magnitudes", "penalty"):
        yield from ((f"metric {m!r}", {"metric": m}) for m in (*METRICS, *SCORES) if m != inputs["metric"])
    if operation == "penalty":
        yield "an entropy in bits (log2) for the natural one", {"entropy": inputs["entropy"] / np.log(2)}
        yield "a natural entropy for the one in bits", {"entropy": inputs["entropy"] * np.log(2)}
        yield from (
            (f"the part {part} left out", {part: 0}) for part in ("l1", "entropy", "coefficients", "differences")
        )
    if operation == "residual":
        yield from ((f"{part} with the other sign", {part: -inputs[part]}) for part in ("coefficient", "forcing"))
    if operation == "attribution":
        yield from ((f"method {m!r}", {"method": m}) for m in METHODS if m != inputs["method"])
    if operation in ("gradient", "loss"):
        key = "loss" if operation == "gradient" else "name"
        yield from ((f"the loss {n!r}", {key: n}) for n in ("mse", "mae") if n != inputs[key])
    if operation == "lbfgs":
        yield from ((f"a history of {n}", {"history": n}) for n in (1, 2, 3, 10, 20) if n != inputs["history"])
    if operation == "lbfgs_direction":
        yield "pairs newest first", {"S": inputs["S"][::-1], "Y": inputs["Y"][::-1]}
        yield "S and Y exchanged", {"S": inputs["Y"], "Y": inputs["S"]}
    if operation in ("halve", "prolong", "restrict"):
        yield from ((f"exterior={e!r}", {"exterior": e}) for e in ("nested", "fine") if e != inputs["exterior"])
    if "network" in inputs:
        yield from ((sentence, {"network": other}) for sentence, other in networks(inputs["network"]))


def networks(network):
    """Sentences and networks that are understood in another way."""
    every = lambda change: [change(dict(layer)) for layer in network]
    for o in OUTSIDE:
        if any(layer.get("outside", o) != o for layer in network):
            yield f"outside={o!r}", every(lambda layer, o=o: {**layer, "outside": o})
    parts = {"mask": ("mask",), "scale": ("scale",), "bias": ("bias",), "affine maps of the nodes": AFFINE}
    parts |= {"base functions": ("base", "base_function"), "normalisation": ("normalise",), "products": ("arity",)}
    parts |= {"splines": ("knots", "spline"), "formulas": ("formulas", "affine")}
    for name, keys in parts.items():
        if any(key in layer for layer in network for key in keys):
            yield f"{name} left out", every(lambda layer, keys=keys: {k: a for k, a in layer.items() if k not in keys})
    if any("alpha" in layer for layer in network):
        yield (
            "adapters with the factor 1",
            every(lambda layer: {**layer, **({"alpha": 1.0} if "alpha" in layer else {})}),
        )
        yield "adapters left out", every(_frozen)
    if any("scale" in layer for layer in network):
        yield (
            "scales applied twice",
            every(lambda layer: {**layer, "scale": layer["scale"] ** 2} if "scale" in layer else layer),
        )
    if any("mask" in layer for layer in network):
        yield "the mask on splines alone", every(_mask_on_splines)
    for key in ("spline", "base"):
        square = all(
            layer[key].shape[0] == layer[key].shape[1] or 1 in layer[key].shape[:2] for layer in network if key in layer
        )
        if square and any(layer[key].shape[0] > 1 for layer in network if key in layer):
            yield f"{key} weights as (input, output)", every(lambda layer, key=key: _exchanged(layer, key))
    if any("spline" in layer for layer in network):
        yield (
            "functions in reverse order",
            every(lambda l: {**l, "spline": l["spline"][:, :, ::-1]} if "spline" in l else l),
        )


def _frozen(layer):
    kept = {key: a for key, a in layer.items() if key not in (*TUCKER, "frozen", "alpha")}
    return {**kept, "spline": layer["frozen"]} if "frozen" in layer else layer


def _mask_on_splines(layer):
    if "mask" not in layer or "spline" not in layer:
        return layer
    kept = {key: a for key, a in layer.items() if key != "mask"}
    return {**kept, "spline": layer["spline"] * layer["mask"][:, :, None]}


def _exchanged(layer, key):
    square = key in layer and layer[key].shape[0] == layer[key].shape[1]
    return {**layer, key: np.ascontiguousarray(layer[key].swapaxes(0, 1))} if square else layer


# ------------------------------------------------------------------------------------------------------- special cases


def _of_splines(inputs, expected):
    """The right end left open; 0/0 in one term taken for the whole sum; edge polynomials going on; Taylor coefficients."""
    x, t, d, order = (inputs[key] for key in ("x", "knots", "degree", "order"))
    B = expected["result"]
    yield "half-open spans, with nothing at the right end", {"result": np.where((x == t[-1])[:, None], 0, B)}
    yield "half-open spans, with nothing at the right edge", {"result": np.where((x == t[-d - 1])[:, None], 0, B)}
    if order == 0:
        yield "a recursion in which 0/0 in one term wipes out the sum", {"result": wiped(x, t, d)}
        yield "a recursion without a guard for 0/0", {"result": wiped(x, t, d, float("nan"))}
    from scipy.interpolate import BSpline

    on = BSpline(t, np.eye(len(t) - d - 1), d)(x, nu=order)
    yield "the polynomials of the edges continued outside (SciPy's extrapolation)", {"result": on}
    inside = (t[d] <= x) & (x <= t[-d - 1])
    yield "zero outside the domain", {"result": np.where(inside[:, None], B, 0)}
    yield "NaN outside the domain", {"result": np.where(inside[:, None], B, np.nan)}
    if order > 1:
        yield "derivatives divided by order!", {"result": B / factorial(order)}
    yield "functions divided by their support (M-splines)", {"result": B * (d + 1) / (t[d + 1 :] - t[: -d - 1])}


def _of_recursions(inputs, expected):
    """Networks on other libraries' splines."""
    network, x = inputs["network"], inputs["x"]
    more = (*AFFINE, *TUCKER, "arity", "normalise", "formulas")
    if any(key in layer for layer in network for key in more) or any(layer.get("outside") != "zero" for layer in network):
        return
    if any(layer["degree"] == 0 for layer in network):
        yield "half-open spans, with nothing at the right edge", {"result": _on_recursion(network, x, 0.0)}
    elif any(_coincide(layer) for layer in network):
        yield "a recursion in which 0/0 in one term wipes out the sum", {"result": _on_recursion(network, x, 0.0)}
        yield "a recursion without a guard for 0/0", {"result": _on_recursion(network, x, np.nan)}


def _on_recursion(network, x, instead):
    """The values of a network of sums on `wiped` splines."""
    for layer in network:
        mask, y = layer.get("mask", 1.0), layer.get("bias", 0.0)
        if "base" in layer:
            y = y + FUNCTIONS[layer["base_function"]](x)[0] @ (mask * layer["base"]).T
        W = layer["spline"] * np.broadcast_to(mask * layer.get("scale", 1.0), layer["spline"].shape[:2])[:, :, None]
        lost = np.isnan(x)[:, :, None]
        x = np.where(lost[:, :, 0], 0, x)
        tables = (wiped(x[:, p], t, layer["degree"], instead) for p, t in enumerate(layer["knots"]))
        x = y + sum(np.where(lost[:, p], np.nan, B) @ W[:, p].T for p, B in enumerate(tables))
    return x


def _of_jets(inputs, expected):
    J = expected["result"]
    divisors = np.array([factorial(m) for m in range(len(J))], float).reshape(-1, *[1] * (J.ndim - 1))
    yield "Taylor coefficients, derivatives divided by order!", {"result": J / divisors}


def _of_adam(inputs, expected):
    """Adam in other forms."""
    variants = {
        "no bias correction": {"correct": False},
        "eps inside the root": {"inside": True},
        "eps before the bias correction": {"early": True},
        "beta1 and beta2 exchanged": {"beta1": inputs["beta2"], "beta2": inputs["beta1"]},
        "the gradient at the start left out": {"first": 2},
    }
    for sentence, change in variants.items():
        yield sentence, {"result": adam_variant(**{**inputs, **change})}


def adam_variant(objective, start, steps, rate, beta1, beta2, eps, correct=True, inside=False, early=False, first=1):
    """Adam with a change; `first` is the step that the bias correction starts from."""
    f, theta, rows = function(objective), start, [start]
    m = v = 0 * start
    for t in range(first, steps + first):
        g = f(theta)[1]
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        a, b = (1 - beta1**t, 1 - beta2**t) if correct else (1, 1)
        root = np.sqrt(v / b + eps) if inside else (np.sqrt(v) + eps) / np.sqrt(b) if early else np.sqrt(v / b) + eps
        theta = theta - rate * m / a / root
        rows.append(theta)
    return np.array(rows)


def _of_lbfgs(inputs, expected):
    """Trajectories with other histories, and none."""
    f, rows = function(inputs["objective"]), [inputs["start"]]
    for _ in range(inputs["steps"]):
        rows.append(rows[-1] - inputs["step"] * f(rows[-1])[1])
    yield "steepest descent", {"result": np.array(rows)}


def _of_hosvd(inputs, expected):
    from kanref.tensors import hooi, st_hosvd, tucker

    for sentence, method in (
        ("the sequentially truncated HOSVD", st_hosvd),
        ("higher-order orthogonal iteration", hooi),
    ):
        core, Us = method(inputs["W"], inputs["ranks"])
        projectors = {key: U @ U.T for key, U in zip(("out", "in", "basis"), Us)}
        yield sentence, {"reconstruction": tucker(core, Us), **projectors}
