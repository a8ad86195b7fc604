"""The face: structure and parameters in one small object.

    model = Model.build([2, 5, 1], intervals=5, seed=0)
    model = model.fit(X, y, optimizer="lbfgs", steps=100)
    model.predict(X)

Nothing is changed in place: `fit`, `refine`, `update_grid` return a new model. The same seed gives the same bits.
"""

import sys
from dataclasses import dataclass, field, replace
from numbers import Real

import numpy as np

from kanref import arrays as border
from kanref import grids, io, objectives, optimize
from kanref.bases import BSpline
from kanref.conventions import convention as named
from kanref.network import KAN, kan

TASKS = {
    "regression": objectives.mse,
    "absolute": objectives.mae,
    "classification": objectives.cross_entropy,
    "binary": objectives.logistic,
}
OPTIMIZERS = ("lbfgs", "adam", "lm")
TIE = 1e-9  # relative difference of validation losses up to which the coarser grid is kept
REFIT_SAMPLES = 5000  # samples that a new grid is fitted to on the way from coarse to fine


@dataclass(frozen=True, eq=False)
class History:
    """What happened in training: one entry for each accepted step, the start first; runs follow one another.

    loss: the objective on the training data (of the batch, with minibatches); validation: the same loss on validation
    data, NaN where it was not computed; rate: learning rate, step length or damping; seconds since the run began; run:
    0, 1, ... for successive runs, `reasons` says why each ended.
    """

    loss: np.ndarray
    validation: np.ndarray
    rate: np.ndarray
    seconds: np.ndarray
    run: np.ndarray
    reasons: tuple[str, ...] = ()

    @classmethod
    def empty(cls):
        return cls(*(np.empty(0) for _ in range(4)), np.empty(0, int))

    def __len__(self):
        return len(self.loss)

    @property
    def interrupted(self):
        """Whether Ctrl-C ended the last run."""
        return self.reasons[-1:] == (optimize.Stop.INTERRUPTED.value,)

    def __add__(self, other):
        later = other.run + len(self.reasons)
        columns = (
            np.concatenate([getattr(self, c), getattr(other, c)]) for c in ("loss", "validation", "rate", "seconds")
        )
        return History(*columns, np.concatenate([self.run, later]), self.reasons + other.reasons)


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its parameters.

    net: structure; theta: flat vector; task: "regression" (mean squared error), "absolute" (mean absolute error),
    "classification" (softmax over the outputs), "binary" (logistic, one output); history: of all fits so far;
    extra: JSON types that travel with the file (the CLI keeps the table's schema there).
    width: columns of X; columns: those of them that the network takes, all unless inputs were pruned; names: of all
    columns, for pictures and formulas, () for x1, x2, ...
    report: what the step that made this model says about it (a refit, pruning, symbolification); not kept in files.
    convention: whose defaults its methods have, of `kanref.conventions`; "strict" is kanref's own.
    """

    net: KAN
    theta: np.ndarray
    task: str = "regression"
    history: History = field(default_factory=History.empty)
    extra: dict = field(default_factory=dict)
    width: int | None = None
    columns: tuple[int, ...] | None = None
    names: tuple[str, ...] = ()
    report: object = field(default=None, repr=False)
    convention: str = "strict"

    def __post_init__(self):
        border.choice(self.task, "task", tuple(TASKS))
        named(self.convention)
        theta = border.real_array(self.theta, "theta")
        self.net.split(theta)
        width = border.integer(self.net.inputs if self.width is None else self.width, "width", self.net.inputs)
        columns = tuple(int(c) for c in (range(width) if self.columns is None else self.columns))
        if len(set(columns)) != self.net.inputs or not set(columns) <= set(range(width)):
            raise ValueError(
                f"columns must be {self.net.inputs} of 0..{width - 1}, one for each input, but it is {columns}"
            )
        names = tuple(map(str, self.names))
        if names and (len(names) != width or len(set(names)) != width):
            raise ValueError(f"names must be {width} different texts, one for each column of X, but it is {names}")
        for name, value in (("theta", theta), ("width", width), ("columns", columns), ("names", names)):
            object.__setattr__(self, name, value)

    def points(self, X):
        """The network's inputs (N, net.inputs) from X (N, width); ValueError for other shapes."""
        X = border.points(X, self.width, "X")
        return X if len(self.columns) == self.width else np.ascontiguousarray(X[:, self.columns])

    @property
    def input_names(self):
        """Names of the network's inputs: those given, or x1, x2, ... by the column of X, also after pruning."""
        names = self.names or [f"x{c + 1}" for c in range(self.width)]
        return [names[c] for c in self.columns]

    @classmethod
    def build(
        cls,
        widths,
        *,
        seed=0,
        task="regression",
        scheme=None,
        dtype=np.float64,
        names=(),
        convention="strict",
        **structure,
    ):
        """A new model. widths and structure: see `kanref.kan`; scheme: see `kanref.initialise`; names: of the inputs.

        convention: another library, as "pykan-0.2.8", for its defaults wherever nothing else is given, here and in all
        methods of the model; see `kanref.conventions`.
        """
        options = {**named(convention).build, **structure}
        default = options.pop("scheme", "kanref")
        net = kan(widths, **options)
        theta = net.init(seed, default if scheme is None else scheme).astype(dtype, copy=False)
        return cls(net, theta, task, names=names, convention=convention)

    # -------------------------------------------------------------------------------------------------- training

    def objective(self, X, y, sparsity=None):
        """theta -> (value, gradient) of the task's loss on data, plus a penalty for `sparsity`; see `fit`."""
        x = self.points(X)
        data = TASKS[self.task](self.net, x, y)
        if not sparsity:
            return data
        options = {"weight": sparsity} if isinstance(sparsity, Real) else dict(sparsity)
        from kanref import sparsify

        weight, options = options.pop("weight"), {**named(self.convention).penalty, **options}
        return objectives.weighted_sum([(1, data), (weight, sparsify.penalty(self.net, x, **options))])

    def fit(
        self,
        X,
        y,
        *,
        optimizer="lbfgs",
        steps=100,
        intervals=None,
        sparsity=None,
        batch=None,
        rate=None,
        validation=None,
        patience=None,
        seconds=None,
        seed=0,
        callback=None,
        progress=None,
    ):
        """Train on X (N, n) and y (N, m), (N,) or labels; returns a new model.

        optimizer: "lbfgs", "adam", or "lm" (Levenberg-Marquardt, mean squared error only).
        steps: accepted steps, or steps for each entry of `intervals`.
        intervals: train coarse to fine: extend the grid to each of these numbers of intervals in turn and train there.
        sparsity: weight lambda of the L1 and entropy penalty (eq. 2.20; 1e-3 to 1e-2 are usual), or a dictionary of it as
            "weight" and options of `kanref.sparsify.penalty`: {"weight": 1e-2, "entropy": 2.0}. None: none. The model's
            convention says how edges are measured.
        batch: samples in a minibatch ("adam" only); rate: a number, vector or schedule for "adam" (default 1e-3).
        validation: a share in (0, 1) of the samples, drawn with `seed`, or (X, y). With it, the grid and the parameters
            of lowest validation loss are returned, be they coarse and early; a finer grid may learn the noise. Computed
            after every step, with minibatches after every pass through the samples.
        patience: end a run after so many steps without a new lowest validation loss.
        seconds: time limit of each run. callback(state): called after every step, True stops; see `optimize.State`.
        progress: show a progress bar, or a text to put before it; by default if the terminal is one.

        Ctrl-C ends training and returns the best parameters so far. Raises ValueError or TypeError for bad data.
        """
        border.choice(optimizer, "optimizer", OPTIMIZERS)
        border.integer(steps, "steps", 0)
        if optimizer == "lm" and self.task != "regression":
            raise ValueError(
                f'optimizer="lm" minimises squared errors only, but the task is {self.task!r}; use "lbfgs" or "adam"'
            )
        if batch is not None and optimizer != "adam":
            raise ValueError(
                f'batch is for optimizer="adam", but the optimizer is {optimizer!r}; its line search needs all samples'
            )
        if rate is not None and optimizer != "adam":
            raise ValueError(
                f'rate is for optimizer="adam", but the optimizer is {optimizer!r}, which finds its own step lengths'
            )
        if patience is not None and validation is None:
            raise ValueError("patience needs validation data: give validation=0.2 or validation=(X, y)")
        if intervals is not None and (np.ndim(intervals) != 1 or not len(intervals)):
            raise ValueError(f"intervals must be a list of numbers, as [3, 5, 10], but it is {intervals!r}")
        X = border.points(X, self.width, "X")
        (X, y), held_out = self.divide(X, np.asarray(y), validation, seed)
        self._check_spread(X)
        self._check_sparsity(sparsity)
        model, best, lowest = self, self, np.inf
        for G in [None] if intervals is None else intervals:
            try:
                if G is not None:
                    model = model.refine(G, X[:: -(-len(X) // REFIT_SAMPLES)])
                factor = 2 if optimizer == "lm" else 1  # Levenberg-Marquardt minimises half the sum of squares
                every = batch and len(X) // batch
                watch = _Watch(model, held_out, patience, callback, steps, progress, every, factor)
                model = model._run(X, y, sparsity, optimizer, steps, batch, rate, seconds, seed, watch)
            except KeyboardInterrupt:
                if model.history is self.history:
                    raise  # before the first step there is nothing to return
                reasons = (*model.history.reasons[:-1], optimize.Stop.INTERRUPTED.value)
                model = replace(model, history=replace(model.history, reasons=reasons))
                break
            if watch.lowest < lowest * (1 - TIE):
                best, lowest = model, watch.lowest
            if model.history.interrupted:
                break
        return replace(best, history=model.history) if lowest < np.inf else model

    def divide(self, X, y, validation, seed=0):
        """Pairs (X, y) for training and for validation; the latter None without `validation`, which is as in `fit`."""
        if validation is None:
            return (X, y), None
        if isinstance(validation, (tuple, list)) and len(validation) == 2:
            return (X, y), validation
        if not isinstance(validation, (int, float)) or not 0 < validation < 1:
            raise ValueError(f"validation must be a share between 0 and 1 or a pair (X, y), but it is {validation!r}")
        if len(y) != len(X):
            raise ValueError(
                f"X and y must have as many rows, but X has {len(X)} and y has {len(y)}; align the samples"
            )
        order, held = np.random.default_rng(seed).permutation(len(X)), round(validation * len(X))
        if not 0 < held < len(X):
            raise ValueError(
                f"validation = {validation} of {len(X)} samples leaves one part empty; give more data or (X, y)"
            )
        return (X[order[held:]], y[order[held:]]), (X[order[:held]], y[order[:held]])

    def _check_spread(self, X):
        if len(X) < 2:
            raise ValueError(f"X has {len(X)} sample, but training needs at least 2")
        constant = np.intersect1d(np.flatnonzero(np.ptp(X, axis=0) == 0), self.columns)
        if constant.size:
            raise ValueError(
                f"column {constant[0]} of X is constant ({X[0, constant[0]]:g}) and teaches nothing; drop it"
            )

    def _check_sparsity(self, sparsity):
        weight = sparsity.get("weight") if isinstance(sparsity, dict) else 0.0 if sparsity is None else sparsity
        if not isinstance(weight, Real) or not 0 <= weight < np.inf:
            raise ValueError(
                f'sparsity must be a weight >= 0, or a dictionary with one as "weight", but it is {sparsity!r}; try 1e-3'
            )

    def _run(self, X, y, sparsity, optimizer, steps, batch, rate, seconds, seed, watch):
        objective = self.objective(X, y, sparsity)
        common = {"steps": steps, "callback": watch, "seconds": seconds}
        with watch:
            if optimizer == "lbfgs":
                result = optimize.lbfgs(objective, self.theta, **common)
            elif optimizer == "lm":
                result = optimize.levenberg_marquardt(objective.residuals, self.theta, **common)
            else:
                stream = objective if batch is None else objectives.minibatches(objective, batch, seed)
                keep = "best" if stream is objective else "last"
                result = optimize.adam(stream, self.theta, rate=1e-3 if rate is None else rate, keep=keep, **common)
        if not watch.rows:
            raise KeyboardInterrupt  # so early that there is nothing to tell
        theta = result.theta if watch.best is None else watch.best
        return replace(self, theta=theta, history=self.history + watch.history(result.reason))

    # --------------------------------------------------------------------------------------------------- using it

    def raw(self, X):
        """Outputs of the network, (N, m): predictions or class scores."""
        return self.net(self.theta, self.points(X))

    def predict(self, X):
        """Regression: values, (N,) for one output, else (N, m). Classification: labels, (N,)."""
        f = self.raw(X)
        if self.task == "classification":
            return f.argmax(1)
        if self.task == "binary":
            return (f[:, 0] > 0).astype(int)
        return f[:, 0] if self.net.outputs == 1 else f

    def probabilities(self, X):
        """(N, classes): softmax of the scores; two columns for the binary task."""
        f = self.raw(X)
        if self.task == "binary":
            f = np.concatenate([np.zeros_like(f), f], 1)
        elif self.task != "classification":
            raise ValueError(f"probabilities are for classification, but the task is {self.task!r}")
        e = np.exp(f - f.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def gradient(self, X):
        """d output / d column at every sample, (N, m, width); 0 for columns that the network does not take."""
        return self._widen(self.net.gradient(self.theta, self.points(X)), 1)

    def hessian(self, X):
        """Second derivatives with respect to the columns, (N, m, width, width)."""
        return self._widen(self.net.hessian(self.theta, self.points(X)), 2)

    def _widen(self, a, axes):
        """Derivatives with respect to the network's inputs in the last axes, put at the columns of X."""
        if len(self.columns) == self.width:
            return a
        wide = np.zeros((*a.shape[: a.ndim - axes], *(self.width,) * axes), a.dtype)
        wide[(..., *np.ix_(*(self.columns,) * axes))] = a
        return wide

    def derivatives(self, X, directions=None):
        """Values, first and second derivatives along directions (D, width); see `KAN.derivatives`."""
        v = np.eye(self.width) if directions is None else border.points(directions, self.width, "directions")
        return self.net.derivatives(self.theta, self.points(X), v[:, self.columns])

    def loss(self, X, y):
        """The task's loss on data."""
        return self.objective(X, y).value(self.theta)

    def rmse(self, X, y):
        """Root mean squared error over samples and outputs."""
        return float(np.sqrt(objectives.mse(self.net, self.points(X), y).value(self.theta)))

    def score(self, X, y):
        """Regression: R^2 = 1 - sum (y - f)^2 / sum (y - mean y)^2, averaged over outputs. Classification: accuracy."""
        if self.task in ("classification", "binary"):
            labels = self.objective(X, y).y
            return float((self.predict(X) == labels).mean())
        y = border.points(y, self.net.outputs, "y")
        spread = ((y - y.mean(0)) ** 2).sum(0)
        if (spread == 0).any():
            raise ValueError("y is constant, so that R^2 is not defined; use rmse")
        return float((1 - ((y - self.raw(X)) ** 2).sum(0) / spread).mean())

    # ------------------------------------------------------------------------------------------------------ grids

    def refine(self, intervals=None, X=None):
        """A finer grid for the same function: every interval halved, exactly, or any number of them by least squares.

        intervals: of every spline layer. None halves, and keeps the function inside and outside the domain; with
        outside="zero" the exterior intervals are halved too and belong to the new domain, so that G intervals of degree
        d become 2 G + 2 d. X: samples for the least squares, None for none.
        """
        if intervals is None:
            net, theta = grids.refine(self.net, self.theta)[:2]
            return replace(self, net=net, theta=theta, report=None)
        x = None if X is None else self.points(X)
        net, theta, report = grids.extend(self.net, self.theta, intervals, x)
        return replace(self, net=net, theta=theta, report=report)

    def update_grid(self, X, rule=None, mix=None, **options):
        """Knots that cover what arrives at every layer, the functions kept; see `grids.update_from_samples`."""
        given = {name: value for name, value in (("rule", rule), ("mix", mix)) if value is not None}
        options = {**named(self.convention).update_grid, **given, **options}
        net, theta, report = grids.update_from_samples(self.net, self.theta, self.points(X), **options)
        return replace(self, net=net, theta=theta, report=report)

    # ---------------------------------------------------------------------------- sparsity, formulas and pictures

    def attribute(self, X, method=None):
        """Scores of nodes and edges on data, "backward" unless the convention has others; see `kanref.sparsify.attribute`."""
        from kanref import sparsify

        options = named(self.convention).attribute if method is None else {"method": method}
        return sparsify.attribute(self.net, self.theta, self.points(X), **options)

    def prune(self, X, **options):
        """The model without the nodes and edges that do not matter on data; see `kanref.sparsify.prune`.

        Columns whose input was pruned are still given to `predict`, and ignored. `report` lists the survivors.
        """
        from kanref import sparsify

        options = {**named(self.convention).prune, **options}
        pruned = sparsify.prune(self.net, self.theta, self.points(X), **options)
        columns = tuple(self.columns[i] for i in pruned.inputs)
        return replace(self, net=pruned.net, theta=pruned.theta, columns=columns, report=pruned.report)

    def suggest(self, X, l, q, p, **options):
        """Functions that the edge from node p to sum q of layer l may be, the likeliest first; see `kanref.symbolic`."""
        from kanref import symbolic

        options = {**named(self.convention).suggest, **options}
        return symbolic.suggest(self.net, self.theta, self.points(X), l, q, p, **options)

    def fix(self, X, l, q, p, function, **options):
        """The model with that edge turned into c f(a x + b) + d, fitted to its spline on data."""
        from kanref import symbolic

        options = {**named(self.convention).fix, **options}
        net, theta = symbolic.fix(self.net, self.theta, l, q, p, function, self.points(X), **options)
        return replace(self, net=net, theta=theta, report=None)

    def unfix(self, X, l, q, p):
        """The model with that edge a spline again."""
        from kanref import symbolic

        net, theta = symbolic.unfix(self.net, self.theta, l, q, p, self.points(X))
        return replace(self, net=net, theta=theta, report=None)

    def auto_symbolic(self, X, **options):
        """The model with every edge turned into the best function of the library; see `kanref.symbolic.auto`."""
        from kanref import symbolic

        options = {**named(self.convention).auto_symbolic, **options}
        snapped = symbolic.auto(self.net, self.theta, self.points(X), **options)
        return replace(self, net=snapped.net, theta=snapped.theta, report=snapped.report)

    def formula(self, **options):
        """The outputs as sympy expressions in the columns' names, a list; see `kanref.symbolic.formula`."""
        from kanref import symbolic

        return symbolic.formula(self.net, self.theta, self.input_names, **options)

    def certificate(self, X, expressions=None, **options):
        """How far formulas (by default this model's) are from the network, on data and on a grid of their box."""
        expressions = self.formula() if expressions is None else expressions
        from kanref import symbolic

        return symbolic.certificate(expressions, self.net, self.theta, self.points(X), self.input_names, **options)

    def read(self, X, digits=4, **options):
        """The formula made short, as far as that changes nothing on data, with its certificate; `symbolic.rounded`."""
        from kanref import symbolic

        return symbolic.rounded(
            self.formula(), self.net, self.theta, self.points(X), digits, self.input_names, **options
        )

    def plot(self, X, **options):
        """The network as a diagram, a `matplotlib.figure.Figure`; see `kanref.plot.network`."""
        from kanref import plot

        return plot.network(self, X, **options)

    # ------------------------------------------------------------------------------------------- files and words

    def save(self, path):
        """Write the model to a safetensors file, atomically; see `kanref.io`."""
        history = {
            name: np.where(np.isfinite(a), a, None).tolist() if a.dtype.kind == "f" else a.tolist()
            for name, a in vars(self.history).items()
            if name != "reasons"
        }
        inputs = {"width": self.width, "columns": list(self.columns), "names": list(self.names)}
        inputs["convention"] = self.convention
        extra = {"task": self.task, "history": history, "reasons": list(self.history.reasons), "user": self.extra, **inputs}
        io.save_network(path, self.net, self.theta, extra)

    @classmethod
    def load(cls, path, functions=None):
        """The model in a file; `functions` {name: Pointwise or Function} for functions of your own."""
        net, theta, extra = io.load_network(path, functions)
        try:
            columns = {name: np.array(a, int if name == "run" else float) for name, a in extra["history"].items()}
            history = History(**columns, reasons=tuple(extra["reasons"]))
            inputs = {name: extra[name] for name in ("width", "columns", "names", "convention") if name in extra}
            return cls(net, theta, extra["task"], history, extra["user"], **inputs)
        except (KeyError, TypeError, ValueError) as error:
            raise io.FileError(f"{path} holds a network but no model ({error}); use kanref.io.load_network") from None

    def summary(self):
        """The network as a table, and how training went."""
        h = self.history
        lines = [repr(self.net), f"task: {self.task}, precision: {self.theta.dtype}"]
        if self.convention != "strict":
            lines[1] += f", convention: {self.convention}"
        if len(h):
            runs = len(h.reasons)
            steps = f"{runs} run{'s' * (runs > 1)}, {len(h) - runs} steps"
            lines.append(f"trained: {steps}, loss {h.loss[0]:.3e} -> {h.loss[-1]:.3e}")
            lines.append(f"last run: {h.reasons[-1]}")
        return "\n".join(lines)

    def __repr__(self):
        return self.summary()


class _Watch:
    """The callback of a run: progress bar, history, validation, patience; calls the user's callback.

    every: steps from one validation to the next, None for 1; factor: of the loss over the value that is minimised.
    """

    def __init__(self, model, held_out, patience, callback, steps, progress, every, factor):
        self.validate = model.objective(*held_out).value if held_out is not None else None
        self.patience, self.callback, self.steps, self.every = patience, callback, steps, every or 1
        self.factor = factor
        self.progress = sys.stderr.isatty() if progress is None else progress
        self.label = " ".join(filter(None, (progress if isinstance(progress, str) else "", _grid(model.net))))
        self.rows, self.best, self.lowest, self.found = [], None, np.inf, 0
        self.bar, self.shown = None, {}

    def __enter__(self):
        if self.progress:
            from tqdm import tqdm

            form = "{desc}  {bar:14} {n_fmt:>5}/{total_fmt} steps  {elapsed}{postfix}"
            self.bar = tqdm(total=self.steps, desc=self.label, bar_format=form, dynamic_ncols=True)
        return self

    def __exit__(self, *error):
        if self.bar is not None:
            self.bar.close()

    def __call__(self, state):
        validation = np.nan
        if self.validate is not None and (state.step % self.every == 0 or state.step == self.steps):
            validation = self.validate(state.theta)
            self.shown["validation"] = f"{validation:.2e}"
            if validation < self.lowest:
                self.best, self.lowest, self.found = state.theta, validation, state.step
        loss = self.factor * state.value
        self.rows.append((loss, validation, state.rate, state.seconds))
        if self.bar is not None:
            shown = {"loss": f"{loss:.2e}", **self.shown, "rate": f"{state.rate:.1e}"}
            self.bar.set_postfix(shown, refresh=False)
            self.bar.update(state.step - self.bar.n)
        stop = self.callback is not None and self.callback(state)
        return bool(stop) or self._out_of_patience()

    def _out_of_patience(self):
        return self.patience is not None and len(self.rows) - 1 - self.found >= self.patience

    def history(self, reason):
        columns = np.array(self.rows).reshape(-1, 4).T.copy()
        text = reason.value
        if reason is optimize.Stop.CALLBACK and self._out_of_patience():
            text = f"No lower validation loss in {self.patience} steps; the parameters of the lowest one are kept."
        return History(*columns, np.zeros(columns.shape[1], int), (text,))


def _grid(net):
    """The numbers of intervals in a network, in words."""
    bases = [getattr(term, "basis", None) for layer in net.layers for term in layer.terms.values()]
    numbers = sorted({basis.intervals for basis in bases if isinstance(basis, BSpline)})
    return f"{', '.join(f'{number:>2}' for number in numbers)} intervals" if numbers else " " * 12
