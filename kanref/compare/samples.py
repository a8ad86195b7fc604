"""The samples that two sides are compared on: those given, a table, or points of the domain that leave no knot out."""

from dataclasses import dataclass

import numpy as np

from kanref import arrays as border
from kanref.bases import BSpline, MinMax
from kanref.free_knots import FreeKnots
from kanref.tables import Table, TableError, numbers_alone

SAMPLES = 256  # at random
MARGIN = 0.05  # of the box, for points outside


@dataclass(frozen=True, eq=False)
class Samples:
    """X (N, width) for every model, in words where it comes from, and (factor, shift) of the models' outputs if they differ."""

    X: tuple
    words: str
    units: tuple | None = None
    readings: tuple = ()


def samples(models, X, seed):
    """`Samples` for models: those given, read from a table, or made."""
    if isinstance(X, Table):
        return _read(models, X)
    if X is not None:
        X = border.points(X, models[0].width, "X")
        return Samples((X,) * len(models), f"{len(X)} samples that were given")
    boxes, rows = zip(*map(_domain, models))
    low, high = np.min([box[0] for box in boxes], 0), np.max([box[1] for box in boxes], 0)
    random = np.random.default_rng(seed).uniform(low, high, (SAMPLES, len(low)))
    margin = MARGIN * (high - low)
    X = np.concatenate([random, np.unique(np.concatenate([*rows, [low - margin, high + margin]]), axis=0)])
    if any(_closed(model) for model in models):
        X = np.clip(X, np.max([box[0] for box in boxes], 0), np.min([box[1] for box in boxes], 0))
    ends = [f"[{a:g}, {b:g}]" for a, b in zip(low, high)]
    box = f"{ends[0]}^{len(ends)}" if len(set(ends)) == 1 else " x ".join(ends[:4]) + " x ..." * (len(ends) > 4)
    words = f"{SAMPLES} random points (seed {seed}) of the domain {box}, and {len(X) - SAMPLES} on knots, edges and outside"
    return Samples((X,) * len(models), words)


def _domain(model):
    """Low and high (width,) of the domain of a model's inputs, and points with all inputs on knots."""
    layer, width, columns = model.net.layers[0], model.width, list(model.columns)
    low, high = np.full(width, -1.0), np.full(width, 1.0)
    back = lambda t: t
    if isinstance(layer.normalise, MinMax):
        least, most = layer.normalise.low, layer.normalise.high
        low[columns], high[columns] = least, most
        back = lambda t: least + (t + 1) / 2 * (most - least)
    arrays, rows = model.net.of_layers(model.theta)[0], []
    for name, term in layer.terms.items():
        basis = term.splines(arrays[f"{name}.spacing"]) if isinstance(term, FreeKnots) else getattr(term, "basis", None)
        if isinstance(basis, BSpline) and isinstance(layer.normalise, MinMax | None):
            ends = [back(end) for end in basis.domain.T]
            low[columns], high[columns] = ends
            rows.append(np.zeros((basis.knots.shape[1], width)))
            rows[-1][:, columns] = back(basis.knots.T)
    return (low, high), np.concatenate([np.empty((0, width)), *rows])


def _closed(model):
    terms = model.net.layers[0].terms.values()
    return any(getattr(getattr(term, "basis", term), "outside", "") == "error" for term in terms)


def _read(models, table):
    """A table by the schemas of the models; one without a schema gets what the other reads."""
    from kanref.job import schema_of

    schemas = [schema_of(model) for model in models]
    read = [None if schema is None else schema.encode(table, labelled=False).X for schema in schemas]
    first = next((X for X in read if X is not None), None)
    X = tuple((numbers_alone(table, models[0].width) if first is None else first) if own is None else own for own in read)
    for model, own in zip(models, X):
        if own.shape[1] != model.width:
            raise TableError(f"the table gives {own.shape[1]} inputs, but the model takes {model.width}; name a table that fits")
    words = f"{len(table)} rows of the table, counted from 0"
    words += "" if first is None or None not in schemas else "; the model that knows no columns gets what the other reads"
    units = None
    if None not in schemas and all(schema.task == "regression" for schema in schemas):
        units = tuple((schema.std, schema.mean) for schema in schemas)
    return Samples(X, words, units if len(models) == 2 else None, tuple(schemas))
