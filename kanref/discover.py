"""From data to a formula without a human choice: the paper's pipeline (Liu et al., section 2.5 and Fig. 2.4).

    found = discover(Model.build([2, 5, 1], intervals=3), X, y)
    print(found)

    train      the network as it is, from a few starts
    sparsify   train the best one with the L1 and entropy penalty (eq. 2.20)
    prune      drop what has no score; then nodes and edges, the weakest first, again and again
    snap       turn one edge after the other into a function of the library, and train the others along; whenever that
               makes errors much smaller, drop edges that are now seen to do nothing
    polish     exchange and drop single functions, train what is left: the affine parameters
    read       the formula, rounded as far as the data allow, with its certificate of agreement

Two decisions are left to a person in the paper and are made by measurement here. *How far to prune*: a smaller network gets
the parameters that it saved back as a finer grid, and is kept if it then validates as well. As a network that lost a node
may sit in a local minimum, it is trained from fresh starts, too, and if it validates only a little worse, pruning goes on to
see whether a still smaller one does as well. *Which function*: the cheapest one with which the network validates as well as
before. A function need not resemble its edge closely for that: inner functions can be bent if outer ones bend back, and
edges that are splines still do so.
"""

from dataclasses import dataclass, replace

import numpy as np

from kanref import symbolic
from kanref.bases import BSpline
from kanref.model import Model
from kanref.sparsify import masked
from kanref.symbolic.snap import RULES, formulas
from kanref.words import aligned

SPARSITY = {"weight": 1e-2, "entropy": 2.0}  # the weight in units of the loss of the best constant
SAMPLES = 2000  # that networks are trained on; the formula that is chosen is trained on all
STEPS = 60  # of every training at most
STALLED = 10, 0.95  # it ends when so many steps did not bring the loss below this part of what it was
CHEAPER = 5  # times as many steps for L-BFGS, where Levenberg-Marquardt cannot be
STARTS = 4  # of the network as it is, and of one that lost a node
FINEST = 40  # intervals
WORST = 0.02  # share of the held-out samples, those with the largest errors, that does not count
SLACK = 1.1  # by which factor a simpler network may validate worse
EQUAL = 1e-5  # share of the spread of the targets below which all errors of splines are alike
DETOUR = 10  # by which factor more on the way to one that does not
WEAK = 0.2  # share of the strongest edge's score below which an edge is a candidate to go
TRIES = 3  # edges that are tried before giving up: the weakest to go, the likeliest to become functions
PLAUSIBLE = 0.9  # R^2 that a function needs to be tried on an edge
BETTER = 0.5  # part of the unexplained variance of cheaper functions that a dearer one may leave to be tried
WORTH = 0.5  # factor by which the error of formulas must fall for each unit of price more
EXACT = 1e-12  # share of the largest target that counts as no error


@dataclass(frozen=True, eq=False)
class Discovery:
    """What a pipeline found.

    model: with formulas for edges, and a `report` on them; splines: the pruned network before; sparse: the one that was
    pruned; formula: `symbolic.Rounded`, whose `expressions` are the outputs; steps: (what, widths, parameters, root of the
    validation loss), in order; interrupted: whether Ctrl-C ended the search for better functions.
    """

    model: Model
    splines: Model
    sparse: Model
    formula: object
    steps: tuple
    interrupted: bool

    def __str__(self):
        return str(self.formula)


def discover(model, X, y, *, validation=0.2, sparsity=None, library=None, seed=0, say=None):
    """Train, sparsify, prune, snap and polish a freshly built model on X (N, n), y: a `Discovery`.

    The model's intervals are the coarsest grid: take enough for the finest feature of the data. Its size is the budget of
    parameters that smaller networks spend on finer grids.
    validation: as in `Model.fit`; sparsity: as there, by default `SPARSITY`; library: names or `Function`s, by default
    all; seed: of the split and of fresh starts; say(what, widths, parameters, error) is called after every step.

    Ctrl-C ends the search with what is there, once there is a formula; before that KeyboardInterrupt is raised.
    Raises ValueError for bad data, and if with the library there is no formula.
    """
    if not np.ptp(np.asarray(y), axis=0).any():
        raise ValueError(f"y is constant ({np.ravel(y)[0]}), so that there is no formula to find")
    data, held_out = model.divide(X, np.asarray(y), validation, seed)
    some = np.random.default_rng(seed).permutation(len(data[1]))[:SAMPLES]
    start = model.net.size, _intervals(model.net), _constant(model.task, data[1])
    work = _Work((data[0][some], data[1][some]), held_out, *start, {"library": library}, seed, say, [])
    sparse = work.sparse(work.started(model), sparsity)
    splines = work.smaller(work.pruned(sparse))
    chosen, interrupted = work.polished(work.snapped(splines), splines, data)
    return Discovery(chosen, splines, sparse, chosen.read(X), tuple(work.steps), interrupted)


@dataclass(frozen=True, eq=False)
class _Work:
    """The data, a budget of parameters, the coarsest grid, the loss of a constant; most methods give a trained model."""

    data: tuple
    held_out: tuple
    budget: int
    coarse: int
    unit: float
    options: dict
    seed: int
    say: object
    steps: list

    def enough(self, error):
        """The error that a simpler network may have."""
        return max(SLACK * error, EQUAL * np.sqrt(self.unit))

    @property
    def exact(self):
        """An error that is as good as none."""
        return EXACT * np.abs(self.data[1]).max()

    def error(self, model):
        """Root of the validation loss; regressions are not judged by the worst samples, as splines fail in empty corners."""
        X, y = self.held_out
        with np.errstate(all="ignore"):
            if model.task == "regression":
                squares = np.sort(((model.raw(X) - np.reshape(y, (len(X), -1))) ** 2).mean(1))
                loss = squares[: len(X) - int(WORST * len(X))].mean() if np.isfinite(squares).all() else np.inf
            else:
                loss = model.loss(X, y)
        return float(np.sqrt(loss)) if np.isfinite(loss) else np.inf

    def note(self, what, model):
        """A step is done."""
        self.steps.append((what, model.net.widths, model.net.size, self.error(model)))
        if self.say:
            self.say(*self.steps[-1])
        return model

    def train(self, model, sparsity=None, **options):
        """Levenberg-Marquardt where it can be, keeping what validates best; with a penalty L-BFGS, keeping the last."""
        steps, stalled, part = STEPS, *STALLED
        if sparsity is not None:
            options |= {"sparsity": sparsity}
        elif model.task == "regression":
            options |= {"optimizer": "lm", "validation": self.held_out}
        else:
            options |= {"validation": self.held_out}
            steps, stalled = CHEAPER * steps, CHEAPER * stalled
        model = model.fit(*self.data, steps=steps, progress=False, callback=_stalled(stalled, part), **options)
        if model.history.interrupted:
            raise KeyboardInterrupt
        return model

    def trained(self, model):
        """On the coarsest grid, then on one that uses the budget up."""
        edges = sum(int((E > 0).sum()) for E in model.attribute(self.data[0]).edges)
        fine = int(np.clip(self.budget // edges - 4, self.coarse, max(FINEST, self.coarse)))
        model = self.train(model, intervals=[self.coarse]).update_grid(self.data[0])
        return self.train(model, intervals=[fine])

    def fresh(self, model):
        """The model, and the same network from other starts."""
        return model, *(replace(model, theta=model.net.init(self.seed + k)) for k in range(1, STARTS))

    # --------------------------------------------------------------------------------------------- a small network

    def started(self, model):
        """The best of a few starts."""
        models = [self.train(start).update_grid(self.data[0]) for start in self.fresh(model)]
        return self.note("trained", self.train(min(models, key=self.error)))

    def sparse(self, model, sparsity):
        """Trained with the penalty."""
        if sparsity is None:
            sparsity = SPARSITY | {"weight": SPARSITY["weight"] * self.unit}
        return self.note("sparse training", self.train(model, sparsity=sparsity))

    def pruned(self, model):
        """Without what has no score."""
        return self.note("pruned by scores", self.trained(model.prune(self.data[0])))

    def smaller(self, model):
        """Without nodes and edges, the weakest first, as long as that validates as well, if need be after a detour."""
        best, error = model, self.error(model)
        while True:
            tried = []
            for what, candidate in self.candidates(model):
                tried.append((self.error(candidate), len(tried), what, candidate))
                if tried[-1][0] <= self.enough(error):
                    break
            if not tried or min(tried)[0] > DETOUR * self.enough(error):
                return best
            found, _, what, model = min(tried)
            if found <= self.enough(error):
                best, error = self.note(what, model), min(error, found)

    def candidates(self, model):
        """(what, trained model) of what may be left out: a node of each hidden level, a layer of one edge, weak edges."""
        net, scores = model.net, model.attribute(self.data[0])
        for level, nodes in enumerate(scores.nodes[1:-1], 1):
            for node in np.argsort(nodes) if len(nodes) > 1 else ():
                stay = [np.arange(width) for width in net.widths]
                stay[level] = np.delete(stay[level], node)
                smaller, theta = net.select(model.theta, stay)
                warm = replace(model, net=smaller, theta=theta)
                for start in self.fresh(warm) if node == np.argmin(nodes) else [warm]:
                    yield f"a node less on level {level}", self.trained(start)
        for l, layer in enumerate(net.layers):
            if 0 < l and (layer.sums, layer.inputs) == (1, 1):
                others = [pair for i, pair in enumerate(zip(net.layers, net.of_layers(model.theta))) if i != l]
                smaller, theta = net.rebuilt(*zip(*others))
                for start in self.fresh(replace(model, net=smaller, theta=theta).update_grid(self.data[0])):
                    yield "a layer less", self.trained(start)
        for place in _weak(scores)[:TRIES]:
            yield "an edge less", self.trained(self.without(model, *place))

    def without(self, model, l, q, p):
        """The model without an edge, and without what then leads nowhere."""
        keep = [np.ones((layer.sums, layer.inputs)) for layer in model.net.layers]
        keep[l][q, p] = 0
        net, theta = masked(model.net, model.theta, edges=keep, x=model.points(self.data[0]))
        return self.mended(replace(model, net=net, theta=theta), model).prune(self.data[0], nodes=0, edges=0)

    # --------------------------------------------------------------------------------------------------- formulas

    def snapped(self, model):
        """Every edge a function: of the edges that are most like one, the first that may be one."""
        error = self.error(model)
        while edges := self.edges(model):
            tried, lowest = [], np.inf
            for k, place, fit in edges:
                if lowest <= self.enough(error) or (k >= TRIES and lowest < np.inf):
                    break
                found, candidate = self.attempt(self.fixed(model, *place, fit))
                tried.append((found, len(tried), _told(*place, fit.function), candidate))
                lowest = min(lowest, found)
            if lowest == np.inf:
                names = ", ".join(sorted({fit.function.name for _, _, fit in edges}))
                raise ValueError(
                    f"library must have a function for every edge, but no network can be trained with {names}"
                )
            found, _, what, model = min(tried)
            self.note(what, model)
            if found < WORTH * error:  # weak edges show as such when errors are low
                model = [model, *self.shorter(model)][-1]
            error = min(error, found) if found <= self.enough(error) else found
        return model

    def edges(self, model):
        """(k, (l, q, p), fit) of what is tried on edges that are splines: on the one that is most like a function (k = 0)
        cheap ones first, then on the next."""
        scores, found = model.attribute(self.data[0]), []
        for l, layer in enumerate(model.net.layers):
            for q, p in np.argwhere(scores.edges[l] > 0).tolist():
                if (q, p) not in formulas(layer)[1]:
                    found.append(((l, q, p), _front(model.suggest(self.data[0], l, q, p, **self.options))))
        found.sort(key=lambda pair: -pair[1][-1].r2)
        return [(k, place, fit) for k, (place, fits) in enumerate(found) for fit in fits]

    def fixed(self, model, l, q, p, fit):
        """The model with that function on an edge."""
        net, theta = symbolic.fix(model.net, model.theta, l, q, p, fit.function, affine=fit.affine)
        return self.mended(replace(model, net=net, theta=theta), model)

    def mended(self, model, old):
        """A model of the old shape; its formulas that what arrives now leaves undefined are fitted to what they were."""
        X, net, theta = model.points(self.data[0]), model.net, model.theta
        for l, layer in enumerate(net.layers):
            seen, before = net.activations(theta, X)[l], old.net.activations(old.theta, X)[l]
            phi, wanted = net.edges(theta, l, seen), old.net.edges(old.theta, l, before)
            name, places = formulas(layer)
            for (q, p), e in places.items():
                if not np.isfinite(phi[:, q, p]).all():
                    fit = symbolic.fit_affine(
                        layer.terms[name].formulas[e][2], layer.mapped(seen)[:, p], wanted[:, q, p]
                    )
                    net, theta = symbolic.fix(net, theta, l, q, p, fit.function, affine=fit.affine)
        return replace(model, net=net, theta=theta)

    def attempt(self, model):
        """The error of a model with formulas, and the model, trained; infinite if some sample is where a formula ends."""
        try:
            model = self.train(model)
        except ValueError:
            return np.inf, model
        return self.error(model), model

    def polished(self, model, splines, data):
        """With other functions and without weak ones, where that validates better or as well; and whether Ctrl-C came."""
        best, interrupted = model, False
        try:
            for found in self.exchanged(model, splines):
                best = found
            for found in self.shorter(best):
                best = found
            if len(data[1]) > len(self.data[1]):
                best = replace(self, data=data).attempt(best)[1]
        except KeyboardInterrupt:
            interrupted = True
        best = best.prune(self.data[0], nodes=0, edges=0, inputs=0)
        return replace(best, report=_report(best.net, best.theta)), interrupted

    def exchanged(self, model, splines):
        """Ever better models with other functions, as long as they are neither exact nor as good as splines: an error that
        is lower by far tells that it is not noise."""
        error, known = self.error(model), self.error(splines)
        for l, layer in enumerate(model.net.layers):
            for (q, p), e in formulas(layer)[1].items():
                if error <= self.exact or WORTH * known <= error <= SLACK * known:
                    return
                now = layer.terms[formulas(layer)[0]].formulas[e][2]
                for fit in _front(splines.suggest(self.data[0], l, q, p, **self.options)):
                    found, other = self.attempt(self.fixed(model, l, q, p, fit))
                    if found < error * WORTH ** max(0.0, _price(fit.function) - _price(now)):
                        error, now, model = found, fit.function, self.note(_told(l, q, p, fit.function), other)
                        yield model

    def shorter(self, model):
        """Ever smaller models."""
        found = model
        while found is not None:
            model, found = found, None
            for place in _weak(model.attribute(self.data[0])):
                error, candidate = self.attempt(self.without(model, *place))
                if error <= max(SLACK * self.error(model), self.exact):
                    found = self.note("an edge less", candidate)
                    yield found
                    break


def _weak(scores):
    """(l, q, p) of edges with low scores, the weakest first; never the last one of a layer."""
    ranked = sorted((s, l, *place) for l, E in enumerate(scores.edges) for place, s in np.ndenumerate(E) if s > 0)
    alone = [(E > 0).sum() == 1 for E in scores.edges]
    return [place for s, *place in ranked if s < WEAK * ranked[-1][0] and not alone[place[0]]]


def _price(function):
    return RULES["kanref"][1](function)


def _front(fits):
    """The plausible ones of an edge's fits from cheap to dear, each clearly better than those before; at least the best."""
    found, least = [], PLAUSIBLE
    for fit in sorted(fits, key=lambda fit: (_price(fit.function), -round(fit.r2, 12), abs(fit.b))):
        if fit.r2 >= least:
            found.append(fit)
            least = 1 - BETTER * (1 - fit.r2)
    return found or [max(fits, key=lambda fit: fit.r2)]


def _told(l, q, p, function):
    return f"edge {l}: {p} -> {q} is {function.name}"


def _report(net, theta):
    """The formulas of a network as a table."""
    rows, views = [("layer", "edge", "function", "a", "b", "c", "d")], net.split(theta)
    for l, layer in enumerate(net.layers):
        name, places = formulas(layer)
        for (q, p), e in places.items():
            numbers = (f"{number:.5g}" for number in views[f"{l}.{name}.affine"][e])
            rows.append((str(l), f"{p} -> {q}", layer.terms[name].formulas[e][2].name, *numbers))
    return aligned(rows, 3)


def _constant(task, y):
    """The loss of the best constant; of labels 1, which is about what it is."""
    if task == "regression":
        return float(np.var(y, 0).mean())
    return float(np.abs(y - np.median(y, 0)).mean()) if task == "absolute" else 1.0


def _intervals(net):
    """Of the finest splines of a network."""
    bases = [getattr(term, "basis", None) for layer in net.layers for term in layer.terms.values()]
    return max((basis.intervals for basis in bases if isinstance(basis, BSpline)), default=1)


def _stalled(steps, part):
    """A callback that ends a training without progress: not below a part of the loss `steps` before."""
    values = []

    def stalled(state):
        values.append(state.value)
        return len(values) > steps and values[-1] > part * values[-1 - steps]

    return stalled
