"""From data to a formula without a human choice: the paper's pipeline (Liu et al., section 2.5 and Fig. 2.4).

    found = discover(Model.build([2, 5, 1], intervals=3), X, y)
    print(found)

    sparsify   train with the L1 and entropy penalty (eq. 2.20)
    prune      drop what has no score; then the weakest node or edge, again and again
    snap       turn every edge into the likeliest function of the library, then exchange single choices
    polish     train what is left, the affine parameters of the functions
    read       the formula, rounded as far as the data allow, with its certificate of agreement

Two decisions are left to a person in the paper and are made by measurement here. *How far to prune*: a smaller network gets
the parameters that it saved back as a finer grid, and is kept if it then validates as well. As a network that lost a node
may sit in a local minimum, it is trained from fresh starts, too. *Which function*: of those that come near an edge, the one
with which the whole network validates best after training; a more complex one must be better by more.
"""

from dataclasses import dataclass, replace

import numpy as np

from kanref import symbolic
from kanref.model import Model
from kanref.sparsify import masked

SPARSITY = {"weight": 1e-2, "entropy": 2.0}
STEPS = 60  # of sparse training, and of every other training
COARSE = 3  # intervals that every training starts from
FINEST = 40
SLACK = 1.05  # by which factor a smaller network may validate worse
FRESH = 3  # fresh starts of a network that lost a node
WEAK = 0.2  # share of the strongest edge's score below which an edge is a candidate to go
CHOICES = 4  # functions that are tried on an edge
EXACT = 1e-10  # share of the largest target that counts as no error
WORTH = 0.5  # factor by which the error must fall for each unit of complexity more


@dataclass(frozen=True, eq=False)
class Discovery:
    """What a pipeline found.

    model: with formulas for edges; splines: the pruned network before; formula: `symbolic.Rounded`, whose `expressions` are the
    outputs; steps: (what, widths, parameters, root of the validation loss), in order.
    """

    model: Model
    splines: Model
    formula: object
    steps: tuple

    def __str__(self):
        return str(self.formula)


def discover(model, X, y, *, validation=0.2, sparsity=None, library=None, simplicity=None, seed=0, say=None):
    """Sparsify, prune, snap and polish a freshly built model on X (N, n), y: a `Discovery`.

    validation: as in `Model.fit`; sparsity: as there, by default {weights}; library, simplicity: of `symbolic.auto`; seed: of
    the split and of fresh starts; say(what, model, error) is called after every step.

    Raises ValueError if an edge fits no function of the library.
    """
    data, held_out = model.divide(X, np.asarray(y), validation, seed)
    work = _Work(data, held_out, model.net.size, seed, say, [])
    sparse = model.fit(*data, steps=STEPS, sparsity=SPARSITY if sparsity is None else sparsity, progress=False)
    work.note("sparse training", sparse)
    pruned = work.trained(sparse.prune(data[0]))
    work.note("pruned by scores", pruned)
    splines = work.smaller(pruned)
    options = {"library": library} | ({} if simplicity is None else {"simplicity": simplicity})
    snapped = work.train(splines.auto_symbolic(data[0], r2=-np.inf, **options))
    work.note("snapped", snapped)
    chosen = work.exchanged(splines, snapped, options)
    return Discovery(chosen, splines, chosen.read(X), tuple(work.steps))


@dataclass(frozen=True, eq=False)
class _Work:
    """The data, and a budget of parameters; every method gives a trained model."""

    data: tuple
    held_out: tuple
    budget: int
    seed: int
    say: object
    steps: list

    @property
    def exact(self):
        """An error that cannot be improved upon."""
        return EXACT * np.abs(self.data[1]).max()

    def error(self, model):
        """Root of the validation loss."""
        with np.errstate(all="ignore"):
            loss = model.loss(*self.held_out)
        return float(np.sqrt(loss)) if np.isfinite(loss) else np.inf

    def note(self, what, model):
        self.steps.append((what, model.net.widths, model.net.size, self.error(model)))
        if self.say:
            self.say(*self.steps[-1])

    def train(self, model, **options):
        optimizer = "lm" if model.task == "regression" else "lbfgs"
        return model.fit(*self.data, optimizer=optimizer, steps=STEPS, progress=False, **options)

    def trained(self, model):
        """On a coarse grid, then on one that uses the budget up."""
        edges = sum(int((E > 0).sum()) for E in model.attribute(self.data[0]).edges)
        fine = int(np.clip(self.budget // edges - 4, COARSE, FINEST))
        model = self.train(model, intervals=[COARSE]).update_grid(self.data[0])
        return self.train(model, intervals=[fine])

    def smaller(self, model):
        """Without the weakest node or edge, as long as that validates as well."""
        error, found = self.error(model), model
        while found is not None:
            model, found = found, None
            for what, candidates in self.candidates(model):
                for candidate in candidates:
                    candidate = self.trained(candidate)
                    if self.error(candidate) <= SLACK * error:
                        found, error = candidate, self.error(candidate)
                        self.note(what, found)
                        break
                if found is not None:
                    break
        return model

    def candidates(self, model):
        """(what, models) of what may be left out: the weakest node of each hidden level, then weak edges."""
        scores = model.attribute(self.data[0])
        for level, nodes in enumerate(scores.nodes[1:-1], 1):
            if len(nodes) > 1:
                stay = [np.arange(width) for width in model.net.widths]
                stay[level] = np.delete(stay[level], np.argmin(nodes))
                net, theta = model.net.select(model.theta, stay)
                fresh = [net.init(self.seed + k) for k in range(1, FRESH + 1)]
                yield f"a node less on level {level}", [replace(model, net=net, theta=t) for t in (theta, *fresh)]
        ranked = sorted((s, l, e) for l, E in enumerate(scores.edges) for e, s in enumerate(E.ravel()) if s > 0)
        for score, l, e in ranked:
            if score < WEAK * ranked[-1][0]:
                keep = [np.ones(E.shape) for E in scores.edges]
                keep[l].flat[e] = 0
                net, theta = masked(model.net, model.theta, edges=keep)
                yield "an edge less", [replace(model, net=net, theta=theta).prune(self.data[0], nodes=0, edges=0)]

    def exchanged(self, splines, model, options):
        """Edge by edge, the functions that come near instead; kept where that validates better."""
        error, worth = self.error(model), lambda f, g: WORTH ** max(0.0, f.complexity - g.complexity)
        for l, layer in enumerate(splines.net.layers):
            for q, p in np.ndindex(layer.sums, layer.inputs):
                now = _function(model, l, q, p)
                if now is None or error < self.exact:
                    continue
                for fit in list(splines.suggest(self.data[0], l, q, p, **options))[:CHOICES]:
                    if fit.function is now:
                        continue
                    net, theta = symbolic.fix(model.net, model.theta, l, q, p, fit.function, affine=fit.affine)
                    other = self.train(replace(model, net=net, theta=theta))
                    if self.error(other) < error * worth(fit.function, now):
                        model, error, now = other, self.error(other), fit.function
                        self.note(f"edge {l}: {p} -> {q} is {fit.function.name}", model)
        return model


def _function(model, l, q, p):
    """The function of an edge, None if it is no formula."""
    name, places = symbolic.snap.formulas(model.net.layers[l])
    return model.net.layers[l].terms[name].formulas[places[q, p]][2] if (q, p) in places else None
