"""Where two models part, or a model and an implementation, by how much, and why it may be.

    found = compare(A, B)                     two `Model`s: on the box of their domains
    found = compare(A, B, X)                  on data: an array, or a `tables.Table` that each reads by its own schema
    found = compare(A, load("mylib:adapter")) an adapter of `kanref.golden.protocol`, asked for A's own network, layer by layer
    print(found)

Every layer of B is fed what A feeds its own, so that the first layer that is really another function is found, not one that
inherits a difference; in it the input map, the edges, the bias, the nodes, in this order.
"""

import os
import re
from contextlib import suppress
from dataclasses import replace

import numpy as np

from kanref.compare.parting import Parting, Row, far, matched, place, rearranged, rows_of, scaled_nodes
from kanref.compare.reasons import factors, why
from kanref.compare.report import Comparison, Verdict
from kanref.compare.samples import samples
from kanref.compare.sides import Foreign, Own, Refused, listening, network_of, without_scaling
from kanref.compare.tolerance import fair
from kanref.golden import explain
from kanref.golden.adapters import kanref as known
from kanref.model import Model

MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?")  # or MODULE:NAME
SUFFIXES = ".safetensors", ".npz", ".msgpack", ".pt", ".pth", ".bin"  # of files that are not there

__all__ = ["Comparison", "Parting", "Row", "compare", "opened"]


def opened(name):
    """The `Model` in a file of any library, else the adapter MODULE:NAME. ValueError or OSError in one line if it is neither."""
    from kanref.golden.conformance import load
    from kanref.interop import convert

    if os.path.exists(name) or os.path.exists(f"{name}_state") or not MODULE.fullmatch(name) or name.endswith(SUFFIXES):
        return convert.load(name)[0]
    try:
        return load(name)
    except ValueError as error:
        raise ValueError(f"{name} is no file, and no implementation either: {error}") from error


# ------------------------------------------------------------------------------------------------------------ comparing


def compare(A, B, X=None, tolerance=None, seed=0, names=("", "")):
    """A `Comparison` of the `Model` A with B, a `Model` or an adapter with a function `forward`.

    X: samples (N, width), or a `Table`, which every model reads by its own schema; None: `SAMPLES` random points of the box of
    both models' domains, drawn with `seed`, and points on knots, at edges and outside. tolerance: the largest fair difference as
    a share of the largest value; None: certified rounding errors in the coarser precision of both, where bounds are known.
    names: of A and B, for the report.

    Raises TypeError if A is no Model, ValueError for other numbers of inputs or outputs, data that do not fit, an adapter without
    `forward`, or a model that the protocol has no words for.
    """
    if not isinstance(A, Model):
        raise TypeError(f"A must be a Model, which an implementation can be compared with, but it is {type(A).__name__}")
    if tolerance is not None and not 0 <= tolerance < np.inf:
        raise ValueError(f"tolerance must be a share of the largest value, at least 0, but it is {tolerance!r}")
    names = tuple(": ".join(filter(None, (name, _sort(side)))) for name, side in zip(names, (A, B)))
    try:
        return _compared(A, B, X, tolerance, seed, names)
    except Refused as refusal:
        raise ValueError(f"A gives no values on these samples: it {refusal}") from refusal


def _compared(A, B, X, tolerance, seed, names):
    if isinstance(B, Model):
        if (A.width, A.net.outputs) != (B.width, B.net.outputs):
            sizes = [f"{model.width} inputs and {model.net.outputs} outputs" for model in (A, B)]
            raise ValueError(f"A and B must take and give as many numbers, but A has {sizes[0]}, B {sizes[1]}")
        return _models(A, B, samples((A, B), X, seed), tolerance, X is not None, names)
    if not _offers(B):
        raise ValueError("B must be a Model or an adapter that offers forward(network, x), but it offers no forward")
    return _foreign(A, B, samples((A,), X, seed), tolerance, X is not None, names)


def _offers(adapter):
    """Whether it has a function forward; an object may raise at the question."""
    with suppress(Refused), listening():
        return callable(getattr(adapter, "forward", None))
    return False


def _sort(side):
    if not isinstance(side, Model):
        return "an implementation, asked for A's network"
    return f"{list(side.net.widths)}, {side.net.size} parameters, {side.theta.dtype}"


def _foreign(A, adapter, given, tolerance, told, names):
    net, x = without_scaling(A.net, A.points(given.X[0]))
    own = Own(net, A.theta)
    other = Foreign(adapter, network_of(net, A.theta), own.dtype)
    levels = own.levels(x)
    fairly = fair((own, own), (x, x), own.dtype, tolerance)
    values, said = _asked(other.values, x)
    rows = rows_of(own, other, levels, None, fairly)
    parting, found = _first(own, other, levels, rows, fairly, told)
    verdict = Verdict.of(levels[-1], values, fairly, (x, x))
    if parting is None and values is not None and not verdict.equal:
        outputs = verdict.place(x)
        parting, found = outputs.parting(), _of_network(other, x, outputs)
    if parting and values is not None:
        again, _ = _asked(other.values, x)
        if again is None or (far(values, again) > verdict.allowed).any():
            said.append("B answers the same question otherwise when it is asked again")
    said += [f"layer {row.layer} by itself: B {row.refused}" for row in rows if row.refused and f"B {row.refused}" not in said]
    return verdict.comparison(given, rows, parting, (*said, *found), names)


def _asked(ask, x):
    """ask(x) and no words, or None and what was said instead."""
    try:
        return ask(x), []
    except Refused as refusal:
        return None, [f"B {refusal}"]


def _models(A, B, given, tolerance, told, names):
    x = [model.points(own) for model, own in zip((A, B), given.X)]
    sides = own, other = Own(A.net, A.theta), Own(B.net, B.theta)
    fairly = fair(sides, x, np.float32 if np.float32 in (own.dtype, other.dtype) else np.float64, tolerance)
    levels = own.levels(x[0])
    own_levels, said = _asked(other.levels, x[1])
    verdict = Verdict.of(levels[-1], None if own_levels is None else own_levels[-1], fairly, x, given.units)
    said += _readings(A, B, other, given, x, verdict)
    columns = [A.columns.index(c) for c in B.columns if c in A.columns]
    chosen = matched(own, other, levels, columns, fairly) if len(columns) == len(B.columns) else None
    if chosen is None:
        return verdict.comparison(given, (), None, (*said, *_shapes(A, B)), names)
    moved = _moved(A, chosen)
    if moved:
        own = rearranged(own, chosen)
        levels, fairly = own.levels(np.ascontiguousarray(x[0][:, chosen[0]])), replace(fairly, sides=(own, other))
    rows = rows_of(own, other, levels, own_levels, fairly)
    parting, found = _first(own, other, levels, rows, fairly, told)
    if parting and verdict.equal:
        found = _inside(levels, own_levels, fairly) or found
    return verdict.comparison(given, rows, parting, (*said, *moved, *found), names)


def _first(A, B, levels, rows, tolerance, told):
    """The `Parting` in the first layer that differs, and why; None and () if there is none."""
    l = next((row.layer for row in rows if not row.refused and row.excess > 1), None)
    if l is None:
        return None, ()
    there = place(A, B, l, levels[l], levels[l + 1], tolerance)
    return there.parting(), why(A, B, there, A.mapped(l, levels[l]) if told else None)


def _of_network(B, x, outputs):
    """The convention by which A's whole network gives B's outputs, although its layers agree one by one."""
    for sentence, network in explain.networks(B.network):
        try:
            found = known.forward(network, np.ascontiguousarray(x, B.dtype))
        except Exception:  # a convention that makes no sense for this network
            continue
        if outputs.fits(found, outputs.b):
            return [f"layer by layer they agree, but as a whole B is A with {sentence}"]
    return factors(outputs) or ["layer by layer they agree, but not as a whole: look at what happens between layers"]


def _shapes(A, B):
    widths = [list(model.net.widths) for model in (A, B)]
    if A.columns != B.columns:
        return [f"A takes columns {list(A.columns)} of the data, B {list(B.columns)}: only outputs are compared"]
    nodes = ", and B's nodes are not among A's" * (len(widths[0]) == len(widths[1]))
    return [f"A is {widths[0]}, B {widths[1]}{nodes}: only outputs are compared"]


def _moved(A, chosen):
    """What the nodes of A that B's are say: inputs and nodes left out, nodes in another order; nothing if all are as they are."""
    found = []
    for l, (own, width) in enumerate(zip(chosen, A.net.widths)):
        own, what = own.tolist(), "inputs" if l == 0 else f"hidden nodes of level {l}"
        if missing := sorted(set(range(width)) - set(own)):
            found.append(f"B lacks {what} {missing}; its own are A's {own}, and counted as in B")
        elif own != list(range(width)):
            found.append(f"{what} are permuted: B's are A's {own}, in this order, and counted as in B")
    return found


def _inside(levels, own, tolerance):
    """How the same function is written otherwise."""
    text, found = "outputs agree, but inner values do not: the same function on these samples, written otherwise", []
    shown = lambda a: np.array2string(a, precision=4)
    for l, c, d in scaled_nodes(levels, own, tolerance):
        shift = f" + {shown(d)}" if np.abs(d).max() > 1e-6 else ""
        found.append(f"{text}: nodes of level {l} are A's times {shown(c)}{shift}, which the next layer undoes")
    return found or [text]


def _readings(A, B, other, given, x, verdict):
    """Whether the two read the same table otherwise, or give outputs in other units, and that matters."""
    found = []
    if len(given.X) == 2 and not np.array_equal(*given.X) and A.columns == B.columns:
        try:
            moved = far(other.values(x[0]), other.values(x[1]))
        except Refused:
            return []
        if (moved > verdict.tolerance.whole(x, verdict.y)).any():
            p = int(far(*given.X).max(0).argmax())
            names = [schema.feature_names[p] for schema in given.readings if schema]
            found.append(f"the table is read otherwise, column {names[0]!r} and others are scaled or filled by other numbers")
    if given.units and given.units[0] != given.units[1]:
        (a, a_0), (b, b_0) = given.units
        found.append(f"outputs are in other units: {a:.6g} y + {a_0:.6g} in A, {b:.6g} y + {b_0:.6g} in B")
    return found
