"""The main job: from a table to a trained network, judged beside simpler models, and a folder of results.

    prepared = prepare(read_csv("data.csv"), "price")     schema, arrays, splits
    fitted = train(prepared)                              fit_table does both
    write_results(fitted, "kanref-out")
    predict_table(fitted.model, read_csv("new.csv"))

What the caller leaves open is chosen like this. Two networks are trained. One has no hidden nodes, a sum of functions of
one variable: a convex problem, so it starts at 0 and from a single interval, which keeps functions that the data say
little about small. The other has a hidden level of min(2 n + 1, 10) nodes, or as many as have parameters for no more
than half the training values on the coarsest grid, and is left out if that is none. Grids go from coarse to fine while
parameters stay below the training values. Of all networks, grids and steps the one of lowest validation loss is kept: on
small and noisy tables that is often the plain sum, or a coarse grid. The method is L-BFGS, for large tables Adam with
minibatches. Knots stay uniform.

With `sparsify` a network with a hidden level is trained with the paper's penalty, pruned, trained again, from the coarse
grid to finer ones, and kept. With
`symbolic` the pipeline of `kanref.discover` goes on to a formula in the table's own units, which is kept: the network is
then what the formula says, so that predictions and formula agree to rounding.
"""

import json
import time
import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np

import kanref
from kanref import arrays as border
from kanref.bases import MinMax, identity
from kanref.discover import discover
from kanref.io import write_atomically
from kanref.model import Model
from kanref.network import KAN, Layer
from kanref.nodes import Nodes
from kanref.optimize import schedules
from kanref.symbolic import to_c, to_latex, to_numpy
from kanref.tables import Encoded, Schema, Table, TableError, fit_schema, numbers_alone, split, write_csv
from kanref.terms import Linear
from kanref.weights import Full
from kanref.words import aligned

SPLITS = ("train", "validation", "test")
FRACTIONS = (0.7, 0.15, 0.15)
MIN_ROWS = 20
INTERVALS = (3, 5, 10, 20)
COARSEST_SUM = 1
MAX_HIDDEN = 10
LARGE = 3_000_000  # training rows times edges from which minibatches are the quicker way
BATCH = 256
STEPS = {"lbfgs": 500, "lm": 50}  # on every grid
PATIENCE = {"lbfgs": 50, "lm": 10}
PASSES, RATE = 20, 1e-2  # of Adam: passes through the training rows on every grid, the rate falling to a hundredth
FORMULA = {  # files, and what they are
    "formula.txt": "the formula and its certificate",
    "formula.tex": "the same in LaTeX",
    "formula.py": "the network as a function for NumPy alone",
    "formula.c": "the same in C99",
}
FIGURES = {"rmse": "RMSE", "mae": "MAE", "r2": "R2", "accuracy": "accuracy", "cross_entropy": "cross-entropy"}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table made ready for training; splits: {"train", "validation", "test": rows of `data`}."""

    table: Table
    schema: Schema
    data: Encoded
    splits: dict[str, np.ndarray]
    seed: int

    @property
    def task(self):
        """As a `Model` names it."""
        if self.schema.task == "regression":
            return "regression"
        return "binary" if len(self.schema.labels) == 2 else "classification"

    @property
    def inputs(self):
        return self.data.X.shape[1]

    @property
    def outputs(self):
        return len(self.schema.labels) if self.task == "classification" else 1

    def part(self, name):
        """X and y of a split."""
        return self.data.X[self.splits[name]], self.data.y[self.splits[name]]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a job gives.

    model: its `extra` holds the schema; metrics: {"kan", "linear", "constant": {split: {figure: number or None}}}, in
    the target's own units, with "sparse" and "formula" if those were asked for, the last one there being the model's;
    candidates: a dictionary for each network that was trained; chosen: the index of the one kept; predictions: {column:
    values} with a value for each row of the table; settings: what was chosen for training; interrupted: Ctrl-C ended
    training, and this is the best until then; pruned: the report of pruning; formula: `symbolic.Rounded` in the table's
    units; in_units: the `Model` it belongs to; None if not asked for.
    """

    prepared: Prepared
    model: Model
    metrics: dict
    candidates: list[dict]
    chosen: int
    predictions: dict
    settings: dict
    seconds: float
    interrupted: bool
    pruned: object = None
    formula: object = None
    in_units: Model | None = None

    @property
    def schema(self):
        return self.prepared.schema

    @property
    def splits(self):
        return self.prepared.splits

    def report(self):
        """All figures and choices as a dictionary of JSON types."""
        p = self.prepared
        return {
            "kanref": kanref.__version__,
            "target": p.schema.target,
            "task": p.schema.task,
            "why": p.schema.why,
            "labels": list(p.schema.labels),
            "rows": {"table": len(p.table), **{name: len(rows) for name, rows in p.splits.items()}},
            "features": list(p.schema.feature_names),
            "dropped": {c.name: c.why for c in p.schema.columns if c.kind == "dropped"},
            "notes": [str(note) for note in p.data.report],
            "settings": {"seed": p.seed, **self.settings},
            "networks": self.candidates,
            "chosen": self.chosen,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "metrics": self.metrics,
            **({"formula": self._formula()} if self.formula is not None else {}),
        }

    def _formula(self):
        after = self.formula.after
        return {
            "expressions": [str(e) for e in self.formula.expressions],
            "certificate": {"data": after.data, "data_relative": after.data_relative, "box": after.grid},
        }


# ---------------------------------------------------------------------------------------------------------- the job


def fit_table(table, target, **options):
    """`train(prepare(...))`, every option going where it belongs. Returns `Fitted`."""
    first = {name: options.pop(name) for name in ("task", "drop", "fractions", "seed") if name in options}
    return train(prepare(table, target, **first), **options)


def prepare(table, target, *, task="auto", drop=(), fractions=FRACTIONS, seed=0):
    """Schema, arrays and splits of a table; see `kanref.tables` for what becomes of columns.

    The task is decided on all rows, all else is learnt from the training rows only. Classes are split in proportion.
    Raises TableError (a ValueError) for what cannot be used, among it fewer than 20 rows with a target.
    """
    border.integer(seed, "seed", 0)
    if len(tuple(fractions)) != 3:
        raise ValueError(f"fractions must be three shares for train, validation and test, but it is {fractions}")
    first = fit_schema(table, target, task=task, drop=drop)
    whole = first.encode(table)
    if len(whole.y) < MIN_ROWS:
        raise TableError(
            f"only {len(whole.y)} rows have a target {target!r}, but training, validation and test together need at "
            f"least {MIN_ROWS}; give more rows"
        )
    classes = whole.y if first.task == "classification" else None
    rows = split(len(whole.y), seed, tuple(fractions), strata=classes)
    schema = fit_schema(table, target, task=first.task, drop=drop, train_rows=whole.rows[rows[0]])
    schema = replace(schema, why=first.why)
    return Prepared(table, schema, schema.encode(table), dict(zip(SPLITS, rows)), seed)


def train(
    prepared,
    *,
    hidden=None,
    intervals=None,
    degree=3,
    steps=None,
    optimizer=None,
    sparsify=None,
    symbolic=False,
    progress=False,
    say=None,
):
    """Train on a prepared table, and judge on every split. Returns `Fitted`.

    hidden: nodes of the hidden levels, () for none, None to try none and one level; intervals: grids, coarse to fine;
    steps: on every grid; optimizer: "lbfgs", "adam" (minibatches) or "lm"; None: chosen as the module's text says.
    sparsify: weight of the sparsity penalty, None for no sparse network; symbolic: go on to a formula; see the module's
    text. progress: show bars; say(what, widths, parameters, error) is told of the steps towards a formula. Ctrl-C ends
    training with the best so far; before the first step it raises KeyboardInterrupt.
    """
    began = time.perf_counter()
    levels = _hidden_levels(prepared, intervals, degree) if hidden is None else [tuple(hidden)]
    networks = [[prepared.inputs, *level, prepared.outputs] for level in levels]
    settings = _settings(prepared, max(map(_edges, networks)), optimizer, steps)
    outputs = {"linear": _linear(prepared, progress), "constant": _constant(prepared)}
    models, candidates, interrupted = [], [], False
    for widths in networks:
        grids = list(_grids(prepared, widths, degree) if intervals is None else intervals)
        options = {"intervals": grids[0], "degree": degree, "outside": "linear"}
        model = Model.build(widths, task=prepared.task, seed=prepared.seed, **options)
        if len(widths) == 2:
            model = replace(model, theta=np.zeros_like(model.theta))
        label = f"{str(widths):<{max(len(str(w)) for w in networks)}}" if progress else False
        try:
            held_out = prepared.part("validation")
            model = model.fit(*prepared.part("train"), intervals=grids, validation=held_out, progress=label, **settings)
        except KeyboardInterrupt:
            if not models:
                raise
            interrupted = True
            break
        models.append(model)
        candidates.append(_candidate(model, widths, grids))
        interrupted = model.history.interrupted
        if interrupted:
            break
    chosen = int(np.argmin([candidate["validation"] for candidate in candidates]))
    model, pruned, formula, in_units = models[chosen], None, None, None
    outputs = {"kan": _outputs(model, prepared.data.X), **outputs}
    if (sparsify is not None or symbolic) and not interrupted:
        start, extra = _sparse_start(prepared, hidden, degree), {}
        try:
            if symbolic:
                weight = {} if sparsify is None else {"sparsity": sparsify}
                parts = {"validation": prepared.part("validation"), "seed": prepared.seed, "say": say}
                found = discover(start, *prepared.part("train"), **parts, **weight)
                interrupted, extra = found.interrupted, {"sparse": found.splines, "formula": found.model}
                in_units = own_units(found.model, prepared.schema)
                formula = in_units.read(_units(prepared.schema)[0](prepared.part("train")[0]))
            else:
                extra = {"sparse": _sparsified(prepared, start, sparsify, intervals, settings, progress)}
                interrupted = extra["sparse"].history.interrupted
        except KeyboardInterrupt:  # what was trained before is kept
            interrupted, extra, formula = True, {}, None
        if extra:
            model = list(extra.values())[-1]
            pruned = model.report
        outputs = {"kan": outputs.pop("kan"), **{k: _outputs(m, prepared.data.X) for k, m in extra.items()}, **outputs}
    model = replace(model, extra={"schema": prepared.schema.to_json()})
    metrics = {
        name: {part: figures(prepared.schema, prepared.data.y[rows], f[rows]) for part, rows in prepared.splits.items()}
        for name, f in outputs.items()
    }
    told = {"degree": degree, **{name: settings.get(name) for name in ("optimizer", "steps", "patience", "batch")}}
    told |= {"sparsify": sparsify, "symbolic": symbolic}
    seconds = time.perf_counter() - began
    rows = _rows(prepared, model)
    return Fitted(
        prepared, model, metrics, candidates, chosen, rows, told, seconds, interrupted, pruned, formula, in_units
    )


def _sparse_start(prepared, hidden, degree):
    """The network to be thinned, on the coarsest grid; with a hidden level unless `hidden` says none."""
    level = (_hidden_levels(prepared, None, degree)[-1] or (1,)) if hidden is None else hidden
    widths = [prepared.inputs, *level, prepared.outputs]
    options = {"intervals": INTERVALS[0], "degree": degree, "outside": "linear", "names": prepared.schema.feature_names}
    return Model.build(widths, task=prepared.task, seed=prepared.seed, **options)


def _sparsified(prepared, model, weight, intervals, settings, progress):
    """Trained with the penalty, pruned, trained without it coarse to fine. Ctrl-C before the pruning raises
    KeyboardInterrupt."""
    held_out, train = prepared.part("validation"), prepared.part("train")
    options = {"validation": held_out, **settings}
    sparse = model.fit(*train, sparsity=weight, progress="sparse" if progress else False, **options)
    if sparse.history.interrupted:
        raise KeyboardInterrupt
    pruned = sparse.prune(train[0], inputs=0)
    coarse, degree = INTERVALS[0], model.net.layers[0].terms["spline"].basis.degree
    grids = intervals or [G for G in _grids(prepared, pruned.net.widths, degree) if G >= coarse] or [coarse]
    fitted = pruned.fit(*train, intervals=grids, progress="pruned" if progress else False, **options)
    return replace(fitted, report=pruned.report)


def _units(schema):
    """Functions from the network's inputs (N, n) to the table's units and back, and low, high (n,) of the map."""
    numeric = {c.name: (c.low, c.high) for c in schema.columns if c.kind == "numeric" and c.low < c.high}
    low, high = np.array([numeric.get(name, (-1.0, 1.0)) for name in schema.feature_names]).T
    return lambda X: (X + 1) / 2 * (high - low) + low, low, high


def own_units(model, schema):
    """The model of the same function in the table's units: columns are mapped first, a regression's output last."""
    _, low, high = _units(schema)
    columns, layers = list(model.columns), list(model.net.layers)
    layers[0] = replace(layers[0], normalise=MinMax(low[columns], high[columns]))
    if schema.task == "regression":
        constants = {"node_scale": np.array([schema.std]), "node_bias": np.array([schema.mean])}
        layers[-1] = replace(layers[-1], nodes=Nodes((1,), (), constants))
    return replace(model, net=KAN(tuple(layers)), report=None)


def _edges(widths):
    return sum(a * b for a, b in zip(widths, widths[1:]))


def _values(prepared):
    """Training values, which bound the number of parameters."""
    return len(prepared.splits["train"]) * prepared.outputs


def _hidden_levels(prepared, intervals, degree):
    """No hidden level, and one whose parameters on the coarsest grid stay below half the training values."""
    n, m = prepared.inputs, prepared.outputs
    functions = min(intervals or INTERVALS) + degree + 1
    nodes = min(_values(prepared) // (2 * functions * (n + m)), 2 * n + 1, MAX_HIDDEN)
    return [(), (nodes,)] if nodes else [()]


def _grids(prepared, widths, degree):
    """The grids whose parameters stay below the training values; at least the coarsest."""
    grids = INTERVALS if len(widths) > 2 else (COARSEST_SUM, *INTERVALS)
    return [G for G in grids if _edges(widths) * (G + degree + 1) <= _values(prepared)] or grids[:1]


def _settings(prepared, edges, optimizer, steps):
    """Arguments of `Model.fit` for the method, chosen by the amount of work unless it is given."""
    rows = len(prepared.splits["train"])
    optimizer = optimizer or ("adam" if rows * edges > LARGE else "lbfgs")
    if optimizer != "adam":
        border.choice(optimizer, "optimizer", ("lbfgs", "adam", "lm"))
        steps = STEPS[optimizer] if steps is None else steps
        return {"optimizer": optimizer, "steps": steps, "patience": PATIENCE[optimizer]}
    one_pass = max(1, rows // BATCH)
    steps = PASSES * one_pass if steps is None else steps
    rate = schedules.cosine(RATE, max(1, steps), RATE / 100)
    return {"optimizer": "adam", "steps": steps, "rate": rate, "batch": BATCH, "seed": prepared.seed}


def _candidate(model, widths, grids):
    """What became of one network, grid by grid."""
    h = model.history
    runs = [
        {
            "intervals": grids[k],
            "steps": int((h.run == k).sum()) - 1,
            "validation": float(np.nanmin(h.validation[h.run == k])),
            "seconds": round(float(h.seconds[h.run == k][-1]), 3),
            "stopped": reason,
        }
        for k, reason in enumerate(h.reasons)
    ]
    best = min(runs, key=lambda run: run["validation"])
    return {
        "widths": widths,
        "intervals": best["intervals"],
        "parameters": model.net.size,
        "validation": best["validation"],
        "runs": runs,
    }


# -------------------------------------------------------------------------------------------------------- baselines


def _constant(prepared):
    """For every row: the training mean (0, as the target is standardised), or the classes' shares in training."""
    y, rows = prepared.part("train")[1], len(prepared.data.y)
    if prepared.task == "regression":
        return np.zeros(rows)
    return np.tile(np.bincount(y, minlength=len(prepared.schema.labels)) / len(y), (rows, 1))


def _linear(prepared, progress):
    """For every row: least squares, or logistic regression as a network of linear edges with a bias.

    The latter gets what the KAN gets: L-BFGS, and the parameters of lowest validation loss.
    """
    X, (X_train, y_train) = prepared.data.X, prepared.part("train")
    if prepared.task == "regression":
        columns = lambda X: np.column_stack([X, np.ones(len(X))])
        return columns(X) @ np.linalg.lstsq(columns(X_train), y_train, rcond=None)[0]
    weights = Full((prepared.outputs, prepared.inputs, 1))
    net = KAN((Layer({"linear": Linear(identity, weights)}, bias=True),))
    model = Model(net, np.zeros(net.size), prepared.task)
    label = "linear" if progress else False
    model = model.fit(X_train, y_train, steps=200, validation=prepared.part("validation"), patience=20, progress=label)
    return model.probabilities(X)


# ---------------------------------------------------------------------------------------------------------- figures


def _outputs(model, X):
    """Standardised values (N,), or probabilities (N, classes)."""
    return model.predict(X) if model.task == "regression" else model.probabilities(X)


def figures(schema, y, f):
    """RMSE, MAE and R2 in the target's own units from standardised values; or accuracy and cross-entropy from
    probabilities f (N, classes). R2 is None where y is constant, all is None where a formula has no value."""
    if not np.isfinite(f).all():
        return dict.fromkeys(("rmse", "mae", "r2") if schema.task == "regression" else ("accuracy", "cross_entropy"))
    if schema.task == "regression":
        e, spread = f - y, np.var(y)
        return {
            "rmse": float(np.sqrt(np.mean(e**2)) * schema.std),
            "mae": float(np.abs(e).mean() * schema.std),
            "r2": float(1 - np.mean(e**2) / spread) if spread > 0 else None,
        }
    hit = np.maximum(f[np.arange(len(y)), y], np.finfo(float).tiny)
    return {"accuracy": float((f.argmax(1) == y).mean()), "cross_entropy": float(-np.log(hit).mean())}


def _columns(schema, f):
    """Predictions in the user's terms, and a column of probabilities for each class."""
    if schema.task == "regression":
        return {"predicted": schema.decode(f)}
    shares = {f"P({label})": f[:, c] for c, label in enumerate(schema.labels)}
    return {"predicted": schema.decode(f.argmax(1)), **shares}


def _rows(prepared, model):
    """The prediction for every row of the table beside its line, split and true value."""
    table, schema = prepared.table, prepared.schema
    part = np.full(len(table), "no target", dtype=object)
    for name, rows in prepared.splits.items():
        part[prepared.data.rows[rows]] = name
    true = table.take(schema.target, np.arange(len(table)))[1]
    f = _outputs(model, schema.encode(table, labelled=False).X)
    return {"line": np.array(table.lines), "split": part, "true": true, **_columns(schema, f)}


# ------------------------------------------------------------------------------------------------------- prediction


def schema_of(model):
    """The schema that `train` put into the model, or None."""
    return Schema.from_json(model.extra["schema"]) if "schema" in model.extra else None


@dataclass(frozen=True, eq=False)
class Predicted:
    """columns: {name: values}, one for each row of the table; notes: what was met on the way; metrics: `figures` on the
    rows that have the target, None if there are none."""

    columns: dict
    notes: list[str]
    metrics: dict | None = None


def predict_table(model, table):
    """The line of every row of a table, the prediction there, and probabilities of classes. Returns `Predicted`.

    A model that was not made from a table has no schema; then the table must hold numbers only, in columns as the
    network's inputs. Raises TableError for tables that do not fit.
    """
    schema, lines = schema_of(model), {"line": np.array(table.lines)}
    if schema is None:
        return Predicted({**lines, **_numbered(model, numbers_alone(table, model.width))}, [])
    data = schema.encode(table, labelled=False)
    f, notes, metrics = _outputs(model, data.X), list(map(str, data.report)), None
    if (bad := ~np.isfinite(f.reshape(len(f), -1)).all(1)).any():
        first = table.lines[bad.argmax()]
        notes.append(f"the formula has no value in {bad.sum()} of {len(f)} rows, the first of them in line {first}")
    if schema.target in table.names:
        try:
            whole = schema.encode(table)
            metrics = figures(schema, whole.y, f[whole.rows])
        except TableError as error:
            notes.append(f"no figures: {error}")
    return Predicted({**lines, **_columns(schema, f)}, notes, metrics)


def _numbered(model, X):
    """Predictions of a model that knows no names."""
    f = model.predict(X)
    if model.task in ("classification", "binary"):
        return {"predicted": f, **{f"P({c})": p for c, p in enumerate(model.probabilities(X).T)}}
    return {"predicted": f} if f.ndim == 1 else {f"predicted {o + 1}": column for o, column in enumerate(f.T)}


# ---------------------------------------------------------------------------------------------------------- in words


def cell(figure):
    """A figure in four digits."""
    return "-" if figure is None else f"{figure:.4g}"


def _first(texts, count=8):
    """The first of many, and how many more there are."""
    if len(texts) <= count:
        return texts
    return [*texts[: count - 1], f"... and {len(texts) - count + 1} more, in metrics.json"]


def overview(prepared):
    """What will be learnt from what, as text."""
    p, s = prepared, prepared.schema
    unlabelled = len(p.table) - len(p.data.y)
    features = list(s.feature_names)
    shown = ", ".join(features[:12]) + (", ..." if len(features) > 12 else "")
    rows = ", ".join(f"{len(p.splits[name])} {name}" for name in SPLITS)
    lines = [
        ("data", f"{len(p.table)} rows, {len(p.table.names)} columns"),
        ("target", f"{s.target}: {s.task}, {s.why}"),
        ("rows", f"{rows} (seed {p.seed})" + (f"; {unlabelled} without target" if unlabelled else "")),
        ("features", f"{len(features)}: {shown}"),
        *(("dropped", c) for c in _first([f"{c.name}: {c.why}" for c in s.columns if c.kind == "dropped"])),
        *(("note", note) for note in _first([str(note) for note in p.data.report if note.column != s.target])),
    ]
    return "\n".join(f"{what:<10}{text}" for what, text in lines)


def networks(fitted):
    """What was trained, as a table."""
    lines = [("network", "intervals", "parameters", "steps", "seconds", "lowest validation loss")]
    for k, candidate in enumerate(fitted.candidates):
        for run in candidate["runs"]:
            kept = k == fitted.chosen and run["intervals"] == candidate["intervals"]
            size = _edges(candidate["widths"]) * (run["intervals"] + fitted.settings["degree"] + 1)
            numbers = (run["intervals"], size, run["steps"], f"{run['seconds']:.2f}")
            loss = f"{run['validation']:.4g} {'<' if kept else ' '}"
            lines.append((str(candidate["widths"]), *map(str, numbers), loss))
    return aligned(lines) + "\n(< the one kept)"


def comparison(fitted):
    """All figures beside linear regression's and a constant's, as a table."""
    parts = {name: f"{name} ({len(rows)})" for name, rows in fitted.splits.items()}
    lines = [("", "", *parts.values())]
    for figure in next(iter(fitted.metrics["kan"].values())):
        for row, (name, of_parts) in enumerate(fitted.metrics.items()):
            lines.append((FIGURES[figure] if row == 0 else "", name, *(cell(of_parts[part][figure]) for part in parts)))
    return aligned(lines, 2)


def words(fitted):
    """What pruning left, and the formula with its certificate; empty if neither was asked for."""
    parts = [str(fitted.pruned)] if fitted.pruned is not None else []
    names, kept = fitted.schema.feature_names, fitted.model.columns
    if idle := [name for c, name in enumerate(names) if c not in kept]:
        parts.append(f"does not matter: {', '.join(idle)}")
    if fitted.formula is not None:
        parts.append(f"{fitted.formula}\n{meaning(fitted.prepared)}")
    return "\n\n".join(parts)


def meaning(prepared):
    """What the y of a formula stands for."""
    target, labels = prepared.schema.target, prepared.schema.labels
    if prepared.task == "regression":
        return f"y is the target {target}; all is in the table's units"
    if prepared.task == "binary":
        return f"y is the logarithm of the odds that {target} is {labels[1]}"
    return f"y1, y2, ... are scores of {target} = {', '.join(labels)}: the shares of exp(y) are the probabilities"


# ---------------------------------------------------------------------------------------------------------- results


def write_results(fitted, folder):
    """Write model, figures and predictions of a job into a folder, made if need be. Returns {path: what it is}.

    Every file appears whole or not at all; files of the same names are replaced, and those of an earlier job's formula
    and diagram, if this one has none, removed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    told = [overview(fitted.prepared), networks(fitted), comparison(fitted), fitted.model.summary(), words(fitted)]
    text = "\n\n".join(filter(None, told))
    fitted.model.save(folder / "model.safetensors")
    write_atomically(folder / "metrics.json", (json.dumps(fitted.report(), indent=2) + "\n").encode())
    write_csv(folder / "predictions.csv", list(fitted.predictions), list(fitted.predictions.values()))
    write_atomically(folder / "summary.txt", (text + "\n").encode())
    drawn = _draw(fitted)
    for name, figure in drawn.items():
        write_atomically(folder / f"{name}.png", _png(figure))
    write_atomically(folder / "figures.pdf", _pdf(drawn.values()))
    written = _write_formula(fitted, folder) if fitted.formula is not None else {}
    if "network" in drawn:
        written[folder / "network.png"] = "the network with the curves of its edges"
    for path in {folder / name for name in (*FORMULA, "network.png")} - written.keys():
        path.unlink(missing_ok=True)  # of an earlier job, about another network
    return {
        folder / "model.safetensors": "the network, for kanref predict and kanref.load",
        folder / "metrics.json": "all figures and settings",
        folder / "predictions.csv": "every row with its split, true and predicted value",
        folder / "summary.txt": "what is printed here",
        folder / "training.png": "loss against step",
        folder / "edges.png": "every edge function",
        folder / "fit.png": "predicted against true values",
        folder / "figures.pdf": "the figures for print",
        **written,
    }


def _write_formula(fitted, folder):
    """The formula in words, in LaTeX, in Python and in C."""
    net, theta, names = fitted.in_units.net, fitted.in_units.theta, fitted.in_units.input_names
    texts = (
        f"{fitted.formula}\n{meaning(fitted.prepared)}\n",
        to_latex(fitted.formula.expressions) + "\n",
        to_numpy(net, theta, names),
        to_c(net, theta, "kan"),
    )
    for name, text in zip(FORMULA, texts):
        write_atomically(folder / name, text.encode())
    return {folder / name: what for name, what in FORMULA.items()}


def _draw(fitted):
    """{name: Figure}."""
    from kanref import plot

    p, s = fitted.prepared, fitted.schema
    numeric = {c.name: (c.low, c.high) for c in s.columns if c.kind == "numeric" and c.low < c.high}
    ranges = [numeric.get(name, (-1, 1)) for name in s.feature_names]
    outputs = list(s.labels)[-p.outputs :] or [s.target]  # one score for two classes speaks for the second
    labelled = p.data.rows
    true, predicted = fitted.predictions["true"][labelled], fitted.predictions["predicted"][labelled]
    if p.task == "regression":
        true = true.astype(float)
    else:
        true, predicted = s.decode(p.data.y), predicted.astype(str)
    X = p.part("train")[0]
    thinned = fitted.pruned is not None
    grids = None if thinned else [run["intervals"] for run in fitted.candidates[fitted.chosen]["runs"]]
    shown = [ranges[c] for c in fitted.model.columns]
    drawn = {
        "training": plot.training(fitted.model.history, grids),
        "edges": plot.edges(fitted.model, X, s.feature_names, outputs=outputs, ranges=shown),
        "fit": plot.fit_quality(true, predicted, fitted.splits, s.target),
    }
    return {**drawn, "network": fitted.model.plot(X, names=s.feature_names, outputs=outputs)} if thinned else drawn


def _png(figure):
    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names in scripts that the font does not have
        figure.savefig(file, format="png", dpi=160)
    return file.getvalue()


def _pdf(drawn):
    from matplotlib.backends.backend_pdf import PdfPages

    file = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with PdfPages(file, metadata={"CreationDate": None}) as pages:
            for figure in drawn:
                pages.savefig(figure)
    return file.getvalue()
