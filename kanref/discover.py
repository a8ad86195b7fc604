"""From data to a formula without a human choice: the paper's pipeline (Liu et al., section 2.5 and Fig. 2.4).

    found = discover(Model.build([2, 5, 1], intervals=3), X, y)
    print(found)

    train      the network as it is, from a few starts
    sparsify   train the best with the L1 and entropy penalty (eq. 2.20)
    prune      drop what has no score; then nodes and edges, the weakest first, again and again
    snap       turn one edge after the other into a function of the library, training all the others
    polish     exchange single functions, train what is left: the affine parameters
    read       the formula, rounded as far as the data allow, with its certificate of agreement

Two decisions are left to a person in the paper and are made by measurement here. *How far to prune*: a smaller network gets
the parameters that it saved back as a finer grid, and is kept if it then validates as well. As a network that lost a node
may sit in a local minimum, it is trained from fresh starts, too. *Which function*: the likeliest one with which the network
validates as well as before, its other edges still free to adapt; the edge that is surest goes first.
"""

from dataclasses import dataclass, replace


import numpy as np

from kanref import symbolic
from kanref.model import Model
from kanref.sparsify import masked
from kanref.symbolic.snap import Snap, Snapped, RULES, formulas

SPARSITY = {"weight": 1e-2, "entropy": 2.0}  # the weight in units of the loss of the best constant
STEPS = 60  # of every training
STARTS = 4  # of the network as it is, and of one that lost a node
FINEST = 40  # intervals
SLACK = 1.05  # by which factor a smaller network, or one with a formula more, may validate worse
WEAK = 0.2  # share of the strongest edge's score below which an edge is a candidate to go
WORST = 0.02  # share of held-out samples whose errors do not count
STALLED = 10, 0.95  # a training ends when that many steps do not bring the loss below this part
PLAUSIBLE = 0.9  # R^2 of a function that is tried on an edge
EXACT = 1e-12  # share of the largest target that counts as no error
WORTH = 0.5  # factor by which the error must fall for each unit of complexity more


@dataclass(frozen=True, eq=False)
class Discovery:
    """What a pipeline found.

    model: with formulas for edges, `report` on them; splines: the pruned network before; formula: `symbolic.Rounded`, whose
    `expressions` are the outputs; steps: (what, widths, parameters, root of the validation loss), in order; interrupted:
    whether Ctrl-C came before the last improvement.
    """

    model: Model
    splines: Model
    formula: object
    steps: tuple
    interrupted: bool = False

    def __str__(self):
        return str(self.formula)


def discover(model, X, y, *, validation=0.2, sparsity=None, library=None, simplicity=None, seed=0, say=None):
    """Train, sparsify, prune, snap and polish a freshly built model on X (N, n), y: a `Discovery`.

    validation: as in `Model.fit`; sparsity: as there, by default {weights}; library, simplicity: of `symbolic.suggest`; seed:
    of the split and of fresh starts; say(what, widths, parameters, error) is called after every step.

    Every grid starts with the intervals of the model, so give it enough of them for the finest feature of the data. Ctrl-C
    after the last edge became a formula returns that formula; before, KeyboardInterrupt is raised.
    """
    data, held_out = model.divide(X, np.asarray(y), validation, seed)
    options = {"library": library} | ({} if simplicity is None else {"simplicity": simplicity})
    work = _Work(data, held_out, model.net.size, _intervals(model.net), seed, options, say, [])
    dense = work.started(model)
    work.note("trained", dense)
    sparse = work.sparse(dense, sparsity)
    work.note("sparse training", sparse)
    splines = work.trained(sparse.prune(data[0]))
    work.note("pruned by scores", splines)
    splines = work.smaller(splines)
    snapped = work.snapped(splines)
    chosen, interrupted = work.exchanged(snapped)
    return Discovery(chosen, splines, chosen.read(X), tuple(work.steps), interrupted)


@dataclass(frozen=True, eq=False)
class _Work:
    """The data, and a budget of parameters; every method gives a trained model."""

    data: tuple
    held_out: tuple
    budget: int
    coarse: int
    seed: int
    options: dict
    say: object
    steps: list

    @property
    def exact(self):
        """An error that cannot be improved upon."""
        return EXACT * np.abs(self.data[1]).max()

    def error(self, model):
        """Root of the validation loss, a regression's without the worst samples: splines err in empty corners."""
        with np.errstate(all="ignore"):
            if model.task == "regression":
                X, y = self.held_out
                squares = np.sort(((model.raw(X) - np.reshape(y, (len(X), -1))) ** 2).mean(1))
                loss = squares[: len(X) - int(WORST * len(X))].mean()
            else:
                loss = model.loss(*self.held_out)
        return float(np.sqrt(loss)) if np.isfinite(loss) else np.inf

    def note(self, what, model):
        self.steps.append((what, model.net.widths, model.net.size, self.error(model)))
        if self.say:
            self.say(*self.steps[-1])

    def train(self, model, **options):
        optimizer = "lm" if model.task == "regression" and "sparsity" not in options else "lbfgs"
        model = model.fit(*self.data, optimizer=optimizer, steps=STEPS, progress=False, callback=_stalled(), **options)
        if model.history.interrupted:
            raise KeyboardInterrupt
        return model

    def trained(self, model):
        """On a coarse grid, then on one that uses the budget up."""
        edges = sum(int((E > 0).sum()) for E in model.attribute(self.data[0]).edges)
        fine = int(np.clip(self.budget // edges - 4, self.coarse, max(FINEST, self.coarse)))
        model = self.train(model, intervals=[self.coarse]).update_grid(self.data[0])
        return self.train(model, intervals=[fine])

    def fresh(self, model):
        """The model, and the same network from other starts."""
        return model, *(replace(model, theta=model.net.init(self.seed + k)) for k in range(1, STARTS))

    def started(self, model):
        """The best of a few starts."""
        models = [self.train(start).update_grid(self.data[0]) for start in self.fresh(model)]
        return self.train(min(models, key=self.error))

    def sparse(self, model, sparsity):
        if sparsity is None:
            y = self.data[1]
            scale = {"regression": np.var(y, 0).mean(), "absolute": np.abs(y - np.median(y, 0)).mean()}.get(model.task, 1.0)
            sparsity = SPARSITY | {"weight": SPARSITY["weight"] * float(scale)}
        return self.train(model, sparsity=sparsity)

    def smaller(self, model):
        """Without nodes and edges, the weakest first, as long as that validates as well."""
        error, found = self.error(model), model
        while found is not None:
            model, found = found, None
            for what, candidate in self.candidates(model):
                candidate = self.trained(candidate)
                if self.error(candidate) <= SLACK * error:
                    found, error = candidate, self.error(candidate)
                    self.note(what, found)
                    break
        return model

    def candidates(self, model):
        """(what, model) of what may be left out: a node of each hidden level, then weak edges."""
        scores = model.attribute(self.data[0])
        for level, nodes in enumerate(scores.nodes[1:-1], 1):
            for node in np.argsort(nodes) if len(nodes) > 1 else ():
                stay = [np.arange(width) for width in model.net.widths]
                stay[level] = np.delete(stay[level], node)
                net, theta = model.net.select(model.theta, stay)
                smaller = replace(model, net=net, theta=theta)
                for start in self.fresh(smaller) if node == np.argmin(nodes) else [smaller]:
                    yield f"a node less on level {level}", start
        ranked = sorted((s, l, e) for l, E in enumerate(scores.edges) for e, s in enumerate(E.ravel()) if s > 0)
        for score, l, e in ranked:
            if score < WEAK * ranked[-1][0]:
                keep = [np.ones(E.shape) for E in scores.edges]
                keep[l].flat[e] = 0
                net, theta = masked(model.net, model.theta, edges=keep)
                yield "an edge less", replace(model, net=net, theta=theta).prune(self.data[0], nodes=0, edges=0)

    # ------------------------------------------------------------------------------------------------- formulas

    def snapped(self, model):
        """Every edge a function."""
        error, seen = self.error(model), []
        while edges := self.edges(model):
            tried, chosen = [], None
            for (l, q, p), fits in edges:
                for fit in fits:
                    candidate = self.fixed(model, l, q, p, fit)
                    tried.append((self.error(candidate), len(tried), (l, q, p), fit, fits, candidate))
                    if tried[-1][0] <= SLACK * error:
                        chosen = tried[-1]
                        break
                if chosen:
                    break
            found, _, place, fit, fits, model = chosen or min(tried)
            error = min(error, found) if chosen else found
            self.note(f"edge {place[0]}: {place[2]} -> {place[1]} is {fit.function.name}", model)
            seen.append(Snap(*place, fit, next((f for f in fits if f is not fit), None), True))
        return replace(model, report=Snapped(model.net, model.theta, tuple(seen)).report)

    def edges(self, model):
        """((l, q, p), fits) of all edges that are splines, the surest first."""
        found = []
        scores = model.attribute(self.data[0])
        for l, layer in enumerate(model.net.layers):
            there = formulas(layer)[1]
            for q, p in np.ndindex(layer.sums, layer.inputs):
                if (q, p) not in there and scores.edges[l][q, p] > 0:
                    found.append(((l, q, p), model.suggest(self.data[0], l, q, p, **self.options)))
        score = lambda fit: _score(fit)
        return sorted(((place, _front(fits)) for place, fits in found), key=lambda pair: score(pair[1][-1]))

    def fixed(self, model, l, q, p, fit):
        net, theta = symbolic.fix(model.net, model.theta, l, q, p, fit.function, affine=fit.affine)
        try:
            return self.train(replace(model, net=net, theta=theta))
        except ValueError:
            return replace(model, net=net, theta=theta*np.nan)

    def exchanged(self, model):
        return model, False


def _intervals(net):
    return max((term.basis.intervals for layer in net.layers for term in layer.terms.values() if hasattr(getattr(term,"basis",None), "intervals")), default=3)


def _price(function):
    return RULES["kanref"][1](function)

def _score(fit):
    return 1-fit.r2

def _front(fits):
    """From cheap to dear, every fit better than those before."""
    found, least = [], PLAUSIBLE
    for fit in sorted(fits, key=lambda fit: (_price(fit.function), -round(fit.r2, 12), abs(fit.b))):
        if fit.r2 > least or not found and fit is fits:
            found.append(fit)
            least = 1-(1-fit.r2)/2
    return found or [max(fits, key=lambda fit: fit.r2)]


def _stalled():
    """A callback that ends a training without progress."""
    values = []

    def stalled(state):
        values.append(state.value)
        number, part = STALLED
        return len(values) > number and values[-1] > part * values[-1 - number]

    return stalled
