"""Transfer between differential equations: LoTRA beside full fine-tuning, matrix LoRA and training from scratch.

Gao, Ng and Tan (arXiv 2502.06153) solve several PDEs by fine-tuning a pre-trained KAN, and say that one learning rate for all
components of LoTRA trains inefficiently. That is in the abstract; their experiments could not be read. All here is our own
design, with the adapters and rates of `kanref.lotra`, a reconstruction.

A network is trained once for each of five families and each of three seeds, then adapted to six other equations of the
family. Networks are [2, 22, 22, 1] (three inputs where the problem embeds x as cosine and sine), cubic on 13 intervals,
conditions by construction, started at half of `init`, so that hidden values stay within the knots. Pre-training: 1500 steps
of Adam on batches of 256 out of 8192 Sobol points. Adaptation is to be cheap: 500 steps of Adam, rates falling by a cosine,
on batches of 128 out of 512 points in all.

    full, scratch       all numbers, from the pre-trained ones, and from the vector that pre-training began with
    LoTRA r             ranks r in every mode (cut to its size), start "output", rates of the theory
    LoTRA r, equal      the same with one rate for all; "theory's rate": with the base rate that the theory has
    LoTRA 6, gradient   start "gradient", rates of the theory; "equal": one rate for all
    matrix              LoRA on the unfolding along outputs, of about the size of LoTRA 6, one rate
    LM                  Levenberg-Marquardt on LoTRA 2, start "gradient", ten steps with all 512 points: practical, at about
                        the seconds of the others, and no part of the comparison

Base rates are those of one grid, the same for all, with the least error, in the geometric mean, on two equations of the family
that are not among the six, with a seed of their own ("tuning"). The theory's ratio c is chosen there too; ranks other than 6
take what rank 6 takes. The grid was widened once, after a first run whose choices lay at its ends: to base rates below 0.001
and above 0.032, and to c = 256 beside 16 and 64. In that run fewer families were within 1.5 times full fine-tuning than in the
record, which is of one later run of everything. The theory so has 24 choices where equal rates have 8. With as many, c = 64
everywhere, its errors in tuning are at most 0.78 times theirs. `lotra.RATIO` = 8, found in `papers.rates`, is not among them.
Network, ranks, points, steps and start were settled before by probes with seed 0 on an equation or two of each family, some of
them among the six: the number of points so that adapters can compete (see the last paragraph).

Equal steps: 500. Equal work: as many steps as full fine-tuning's processor seconds allow, by the seconds of runs in tuning, the
schedule as long as these steps. Errors are relative L2 on an even grid of 41 points each way, medians over six equations and
three seeds.

What it shows. LoTRA 6 with rates of the theory is within 1.5 times full fine-tuning and below equal rates on four of five
families, with 13 % of the numbers. On the fifth, Poisson's equation, tuning chose the largest base rate by 2 % of the error over
half of it, and there 8 of 18 runs end at errors above one: two equations with one seed are too few to see the edge of stability.
(With half of that rate, which the first run had, this family was well below both full fine-tuning and equal rates.) From the
gradient all five families are below full fine-tuning; there, equal rates are as good on two, as orthonormal factors are not the
sizes that the theory supposes.

That holds for few points, and they are why it holds: 512 points fix 8800 numbers badly, and full fine-tuning fits them better
than the equation between them. With 8192 points ("many points", first seed, nothing tuned again) full fine-tuning is 2 to 4
times better than LoTRA on all families but Helmholtz (and Poisson, see above), and the theory better than equal rates.
"""

import os
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import cycle
from time import process_time

import numpy as np

from kanref import lotra, optimize
from kanref.network import KAN, kan
from kanref.optimize import schedules
from kanref.papers.experiment import cells, finished, rounded
from kanref.pde.problem import Problem
from kanref.solve import make
from kanref.words import aligned

SEEDS = (0, 1, 2)
TUNING = 9  # the seed of tuning
FAMILIES = {  # parameters of the first equation, of those that are tuned on, and of the six
    "poisson": {
        "start": {"frequency": 1, "power": 1},
        "tuning": [{"frequency": 1, "power": 2, "contrast": 0.25}, {"frequency": 2, "power": 1, "contrast": 0.25}],
        "targets": [
            {"frequency": 2, "power": 1},
            {"frequency": 2, "power": 1, "contrast": 0.5},
            {"frequency": 2, "power": 1, "contrast": -0.5},
            {"frequency": 1, "power": 2},
            {"frequency": 1, "power": 2, "contrast": 0.5},
            {"frequency": 1, "power": 2, "contrast": -0.5},
        ],
    },
    "helmholtz": {
        "start": {"wave_number": 4.0},
        "tuning": [{"wave_number": k} for k in (3.85, 4.15)],
        "targets": [{"wave_number": k} for k in (3.0, 3.2, 3.7, 3.8, 4.1, 4.2)],
    },
    "reaction_diffusion": {
        "start": {"diffusion": 0.05, "reaction": 3.0},
        "tuning": [{"diffusion": 0.045, "reaction": 3.5}, {"diffusion": 0.06, "reaction": 2.5}],
        "targets": [
            {"diffusion": D, "reaction": rho}
            for D, rho in ((0.04, 3.0), (0.04, 4.0), (0.05, 4.0), (0.05, 2.0), (0.07, 3.0), (0.07, 2.0))
        ],
    },
    "allen_cahn": {
        "start": {"diffusion": 0.02, "reaction": 2.0},
        "tuning": [{"diffusion": 0.018, "reaction": 2.3}, {"diffusion": 0.025, "reaction": 1.7}],
        "targets": [
            {"diffusion": eps, "reaction": rho}
            for eps, rho in ((0.015, 2.0), (0.015, 2.5), (0.02, 2.5), (0.02, 1.5), (0.03, 2.0), (0.03, 1.5))
        ],
    },
    "burgers": {
        "start": {"nu": 0.05},
        "tuning": [{"nu": nu} for nu in (0.033, 0.09)],
        "targets": [{"nu": nu} for nu in (0.03, 0.035, 0.04, 0.065, 0.08, 0.1)],
    },
}
METHODS = {  # adapter; whose base rate; "theory": rates of the theory, "equal": one for all
    "full": {"rate": "full"},
    "scratch": {"rate": "scratch"},
    "LoTRA 2": {"ranks": 2, "rate": "LoTRA 6", "rates": "theory"},
    "LoTRA 4": {"ranks": 4, "rate": "LoTRA 6", "rates": "theory"},
    "LoTRA 6": {"ranks": 6, "rate": "LoTRA 6", "rates": "theory"},
    "LoTRA 2, equal": {"ranks": 2, "rate": "LoTRA 6, equal"},
    "LoTRA 6, equal": {"ranks": 6, "rate": "LoTRA 6, equal"},
    "LoTRA 6, equal, theory's rate": {"ranks": 6, "rate": "LoTRA 6"},
    "LoTRA 6, gradient": {"ranks": 6, "start": "gradient", "rate": "LoTRA 6, gradient", "rates": "theory"},
    "LoTRA 6, gradient, equal": {"ranks": 6, "start": "gradient", "rate": "LoTRA 6, gradient, equal"},
    "matrix": {"ranks": {0: 2, 1: 2, 2: 1}, "kind": "matrix", "rate": "matrix"},
}
THEORY, EQUAL = "LoTRA 6", "LoTRA 6, equal"
PAIRS = {"output": (THEORY, EQUAL), "gradient": ("LoTRA 6, gradient", "LoTRA 6, gradient, equal")}  # starts: theory, equal
PLAN = {
    "families": FAMILIES,
    "methods": METHODS,
    "network": {"hidden": [22, 22], "intervals": 13, "degree": 3, "start": 0.5},
    "first": {"steps": 1500, "rate": 5e-3, "batch": 256, "batches": 32},
    "steps": 500,
    "batch": 128,
    "batches": 4,
    "many": 64,  # batches in the rows with many points, first seed only
    "levenberg_marquardt": {"ranks": 2, "start": "gradient", "steps": 10},
    "rates": [5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2, 6.4e-2],
    "ratios": [16, 64, 256],
    "looks": [0.1, 0.2, 0.4, 0.7, 1.0],  # shares of the steps after which errors are looked at
    "mesh": 41,
}
SHORT = PLAN | {
    "families": {"burgers": {name: found if name == "start" else found[:1] for name, found in FAMILIES["burgers"].items()}},
    "network": {"hidden": [6, 6], "intervals": 5, "degree": 3, "start": 0.5},
    "first": {"steps": 300, "rate": 1e-2, "batch": 128, "batches": 8},
    "steps": 100,
    "many": 8,
    "rates": [4e-3, 1.6e-2],
    "ratios": [16],
    "mesh": 21,
}
TRACED = ("full", "scratch", THEORY, EQUAL, "matrix")  # whose errors on the way are kept
SAME_WORK = (THEORY, EQUAL)  # run again with the seconds of full fine-tuning
BOUNDS = {"ratio": 1.5, "share": 0.15}  # of errors over full fine-tuning's, of trained numbers


# ------------------------------------------------------------------------------------------------------------ training


def network(problem, plan):
    """The network for a problem: structure alone."""
    own = plan["network"]
    widths = [problem.inputs or len(problem.coordinates), *own["hidden"], 1]
    return kan(widths, intervals=own["intervals"], degree=own["degree"], outside="linear", base=None)


def losses(problem, net, batch, batches, seed):
    """Objectives, one for each batch: neighbours in a Sobol sequence, so that every batch covers the box."""
    x = problem.points({"equation": batch * batches}, "sobol", seed)["equation"]
    return [problem.objective(net, {"equation": part}, hard=True) for part in np.split(x, batches)]


def adam(objectives, theta, rate, steps, callback=None):
    """Adam on batches in turn, rates falling by a cosine; the last theta."""
    turn = cycle(objectives)
    schedule = schedules.cosine(rate, steps)
    loss = lambda theta: next(turn)(theta)
    return finished(optimize.adam(loss, theta, steps=steps, rate=schedule, keep="last", callback=callback)).theta


def first(family, seed, plan):
    """The network of a family trained on its first equation: net, the vector it began with, theta."""
    own, problem = plan["first"], make(family, plan["families"][family]["start"])
    net = network(problem, plan)
    begun = plan["network"]["start"] * net.init(seed)
    return net, begun, adam(losses(problem, net, own["batch"], own["batches"], seed), begun, own["rate"], own["steps"])


@lru_cache
def exact(family, parameters, mesh):
    """The problem, points of an even grid and the reference there."""
    problem = make(family, dict(parameters))
    x = problem.mesh(mesh)
    return problem, x, problem.reference(x)


@dataclass(frozen=True, eq=False)
class Target:
    """An equation to adapt to: the problem, points x of an even grid, the reference u there, and the network that was trained
    on the family's first equation, with the vector it began with and its theta."""

    problem: Problem
    x: np.ndarray
    u: np.ndarray
    net: KAN
    begun: np.ndarray
    theta: np.ndarray
    seed: int
    plan: dict

    def error(self, net, theta):
        """Relative L2."""
        u = self.problem.function(net, hard=True)(theta, self.x)[:, 0]
        return float(np.linalg.norm(u - self.u) / np.linalg.norm(self.u))

    def losses(self, net, batches=None):
        """The objectives of an adaptation."""
        return losses(self.problem, net, self.plan["batch"], batches or self.plan["batches"], self.seed)

    def start(self, method, objectives):
        """Network and theta that a method begins with; objectives: of the network that was trained."""
        if "ranks" not in method:
            return self.net, self.begun if method["rate"] == "scratch" else self.theta
        own = {"kind": method.get("kind", "tucker"), "start": method.get("start", "output"), "seed": self.seed}
        if own["start"] == "gradient":
            own["gradient"] = np.mean([objective(self.theta)[1] for objective in objectives], 0)
        return lotra.adapt(self.net, self.theta, method["ranks"], **own)

    def adapted(self, method, rate, steps, batches=None, looks=(1.0,)):
        """{"seconds": of training alone, "errors": after shares `looks` of the steps}.

        rate: the base rate and the ratio of the theory.
        """
        full = self.losses(self.net, batches)
        at, errors, began = {round(steps * share) for share in looks}, [], process_time()
        net, theta = self.start(method, full)
        objectives = full if net is self.net else self.losses(net, batches)
        base, ratio = rate
        rates = lotra.rates(net, base, ratio=ratio) if method.get("rates") == "theory" else base

        def look(state):
            nonlocal began
            if state.step in at:
                now = process_time()
                errors.append(self.error(net, state.theta))
                began += process_time() - now

        adam(objectives, theta, rates, steps, look)
        return {"seconds": rounded(process_time() - began, 3), "errors": rounded(errors, 3)}

    def levenberg_marquardt(self):
        """The same for Levenberg-Marquardt on an adapter, all points at once."""
        own, began = self.plan["levenberg_marquardt"], process_time()
        net, theta = self.start(own, self.losses(self.net))
        x = self.problem.points({"equation": self.plan["batch"] * self.plan["batches"]}, "sobol", self.seed)
        squares = self.problem.objective(net, x, hard=True).residuals
        result = finished(optimize.levenberg_marquardt(squares, theta, steps=own["steps"]))
        return {"seconds": rounded(process_time() - began, 3), "errors": rounded([self.error(net, result.theta)], 3)}


def target(family, parameters, trained, seed, plan):
    """The `Target` for an equation of a family; trained: what `first` returns."""
    return Target(*exact(family, tuple(parameters.items()), plan["mesh"]), *trained, seed, plan)


def sizes(family, plan):
    """{method: trained numbers}."""
    problem = make(family, plan["families"][family]["start"])
    net = network(problem, plan)
    theta, methods = np.zeros(net.size), plan["methods"] | {"LM": plan["levenberg_marquardt"]}
    adapted = lambda method: lotra.adapt(net, theta, method["ranks"], kind=method.get("kind", "tucker"))[0]
    return {name: (adapted(method) if "ranks" in method else net).size for name, method in methods.items()}


# --------------------------------------------------------------------------------------------------------------- cells


def tune(key, plan):
    """The record of "FAMILY / tuning": {method: [[base rate, ratio, errors of the equations]]} and seconds of each method."""
    family = key.split(" / ")[0]
    trained = first(family, TUNING, plan)
    targets = [target(family, parameters, trained, TUNING, plan) for parameters in plan["families"][family]["tuning"]]
    tried, seconds = {}, {}
    for name, method in plan["methods"].items():
        if method["rate"] == name:
            ratios = plan["ratios"] if method.get("rates") == "theory" else [1]
            grid = [(rate, ratio) for rate in plan["rates"] for ratio in ratios]
            runs = [[one.adapted(method, rate, plan["steps"]) for one in targets] for rate in grid]
            tried[name] = [[*rate, [run["errors"][0] for run in row]] for rate, row in zip(grid, runs)]
            seconds[name] = rounded(np.median([run["seconds"] for row in runs for run in row]), 3)
    return {"tried": tried, "seconds": seconds}


def chosen(tuned, plan):
    """{method: (base rate, ratio)} with the least errors of tuning, in the geometric mean, and {method: steps} of equal work."""
    best = lambda tried: min(tried, key=lambda row: np.log(row[2]).mean())[:2]
    rates = {name: best(tuned["tried"][method["rate"]]) for name, method in plan["methods"].items()}
    cost = tuned["seconds"]
    return rates, {name: round(plan["steps"] * cost["full"] / cost[name]) for name in SAME_WORK}


def adapt(key, plan, choices):
    """The record of "FAMILY / SEED": for every equation {method: run}, see `Target.adapted`."""
    family, seed = key.split(" / ")
    (rates, steps), seed = choices[family], int(seed)
    trained, records = first(family, seed, plan), []
    for parameters in plan["families"][family]["targets"]:
        one, methods = target(family, parameters, trained, seed, plan), plan["methods"]
        record = {"before": {"errors": rounded([one.error(one.net, one.theta)], 3)}}
        for name, method in methods.items():
            looks = plan["looks"] if name in TRACED else (1.0,)
            record[name] = one.adapted(method, rates[name], plan["steps"], looks=looks)
        for name in SAME_WORK:
            record[f"{name}, equal work"] = one.adapted(methods[name], rates[name], steps[name])
        record["LM"] = one.levenberg_marquardt()
        if seed == SEEDS[0]:
            for name in ("full", THEORY, EQUAL, "LoTRA 6, gradient"):
                record[f"{name}, many points"] = one.adapted(methods[name], rates[name], plan["steps"], plan["many"])
        records.append(record)
    return records


# ------------------------------------------------------------------------------------------------------------- results


def run(folder, progress=None, short=False, jobs=1):
    """All families, equations and seeds; returns the table. Writes transfer.json and transfer.png.

    short: one family, one equation, one seed, a small network and few steps, in transfer-short.json.
    """
    plan, seeds = (SHORT, SEEDS[:1]) if short else (PLAN, SEEDS)
    stem = os.path.join(folder, "transfer-short" if short else "transfer")
    tuned = cells(f"{stem}.json", plan, [f"{f} / tuning" for f in plan["families"]], partial(tune, plan=plan), progress, jobs)
    choices = {key.split(" / ")[0]: chosen(cell, plan) for key, cell in tuned.items()}
    keys = [f"{family} / {seed}" for seed in seeds for family in plan["families"]]
    done = cells(f"{stem}.json", plan, keys, partial(adapt, plan=plan, choices=choices), progress, jobs)
    results = {family: collected([done[f"{family} / {seed}"] for seed in seeds], family, plan) for family in plan["families"]}
    draw(results, plan).savefig(f"{stem}.png", dpi=150)
    return text(results, choices, plan)


def collected(records, family, plan):
    """{method: {"size", "seconds": median, "errors": (equations and seeds, looks)}} of the records of all seeds."""
    found, numbers = {}, sizes(family, plan)
    for name in records[0][0]:
        runs = [record[name] for seed in records for record in seed if name in record]
        found[name] = {"errors": np.array([run["errors"] for run in runs])}
        if name != "before":
            seconds = np.median([run["seconds"] for run in runs])
            found[name] |= {"size": numbers[as_tuned(name)], "seconds": seconds}
    return found


def as_tuned(name):
    """The method of a row."""
    return name.removesuffix(", equal work").removesuffix(", many points")


def median(result):
    """The median of the last errors."""
    return float(np.median(result["errors"][:, -1]))


def verdicts(results, start="output"):
    """{family: (trained share, error of theory rates over that of full fine-tuning, over that of equal rates)}, medians at
    equal steps."""
    found = {}
    for family, methods in results.items():
        full, theory, equal = (methods[name] for name in ("full", *PAIRS[start]))
        found[family] = theory["size"] / full["size"], median(theory) / median(full), median(theory) / median(equal)
    return found


def text(results, choices, plan):
    """Sizes, errors and seconds of every family and method; then the verdicts."""
    rows = [("", "trained", "share", "error", "quartiles", "", "/ full", "seconds", "base rate", "ratio")]
    for family, methods in results.items():
        rates, _ = choices[family]
        rows.append((f"{family}, before {median(methods['before']):.1e}", *[""] * 9))
        full = median(methods["full"])
        for name, result in methods.items():
            if name == "before":
                continue
            base = full if "many" not in name else median(methods["full, many points"])
            low, high = np.quantile(result["errors"][:, -1], (0.25, 0.75))
            share = f"{100 * result['size'] / methods['full']['size']:.1f} %"
            errors = f"{median(result):.1e}", f"{low:.1e}", f"{high:.1e}", f"{median(result) / base:.2f}"
            rate, ratio = rates.get(as_tuned(name), ("-", "-"))
            ratio = ratio if plan["methods"].get(as_tuned(name), {}).get("rates") == "theory" else "-"
            rows.append((f"  {name}", result["size"], share, *errors, f"{result['seconds']:.2f}", rate, ratio))
    return f"{aligned(rows)}\n\n{verdict_table(results)}"


def verdict_table(results):
    """Errors over those of full fine-tuning and of equal rates, "!" where they are not below 1.5 and 1, for both starts."""
    marked = lambda value, bound: f"{value:.2f}{'' if value < bound else ' !'}"
    bounds = (BOUNDS["ratio"], 1) * 2
    tables = []
    for start, (theory, _) in PAIRS.items():
        found = verdicts(results, start)
        heading = (f"{theory}, theory rates, over", "full", "equal rates", "share")
        more = ("equal work: full", "equal rates", "many points: full", "equal rates") if start == "output" else ()
        rows = [(*heading, *more)]
        for family, (share, by_full, by_equal) in found.items():
            over = lambda other, kind, bound, own=results[family]: marked(median(own[THEORY + kind]) / median(own[other]), bound)
            others = ("full", f"{EQUAL}, equal work", "full, many points", f"{EQUAL}, many points")
            kinds = (", equal work", ", equal work", ", many points", ", many points")
            asked = marked(by_full, BOUNDS["ratio"]), marked(by_equal, 1), f"{100 * share:.1f} %"
            rows.append((family, *asked, *map(over, others[: len(more)], kinds, bounds)))
        within = sum(by_full <= BOUNDS["ratio"] and share <= BOUNDS["share"] for share, by_full, _ in found.values())
        better = sum(by_equal < 1 for _, _, by_equal in found.values())
        tables.append(
            f"{aligned(rows)}\n"
            f"within {BOUNDS['ratio']} times full fine-tuning with at most {100 * BOUNDS['share']:.0f} % of its numbers: "
            f"{within} of {len(found)} families; better than equal rates: {better} of {len(found)}"
        )
    return "\n\n".join(tables)


LOOKS = {  # colour, mark, and a factor that sets equal shares side by side
    "full": ("#222222", "s", 0.9),
    "scratch": ("#999999", "s", 1.12),
    "LoTRA 2": ("#D55E00", "o", 1),
    "LoTRA 4": ("#D55E00", "o", 1),
    "LoTRA 6": ("#D55E00", "o", 1),
    "LoTRA 2, equal": ("#0072B2", "D", 0.85),
    "LoTRA 6, equal": ("#0072B2", "D", 0.85),
    "LoTRA 6, gradient": ("#CC79A7", "v", 1.15),
    "matrix": ("#009E73", "^", 1.3),
}
NAMES = {
    "LoTRA 6": "LoTRA, rates of the theory",
    "LoTRA 6, equal": "LoTRA, equal rates",
    "LoTRA 6, gradient": "LoTRA, theory, gradient start",
    "matrix": "matrix LoRA",
}


def draw(results, plan):
    """For every family, above: median errors with quartiles against the trained share; below: against steps."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, PercentFormatter

    figure = Figure(figsize=(3.3 * len(results) + 1.2, 6.4), layout="constrained")
    axes = figure.subplots(2, len(results), squeeze=False, sharey="col")
    for (family, methods), (above, below) in zip(results.items(), axes.T):
        full = methods["full"]["size"]
        for name, (colour, mark, aside) in LOOKS.items():
            errors = methods[name]["errors"]
            low, middle, high = np.quantile(errors[:, -1], (0.25, 0.5, 0.75))
            share = aside * methods[name]["size"] / full
            bar = {"yerr": [[middle - low], [high - middle]], "capsize": 3, "lw": 1, "ms": 5}
            above.errorbar(share, middle, fmt=mark, color=colour, label=NAMES.get(name, name), **bar)
            if name in TRACED:
                steps = plan["steps"] * np.array(plan["looks"])
                line = "--" if name == "scratch" else "-"
                below.loglog(steps, np.median(errors, 0), line, color=colour, marker=mark, ms=4, lw=1.2)
        bound = BOUNDS["ratio"] * median(methods["full"])
        above.axhline(bound, color="0.4", lw=0.9, ls=":", zorder=0, label=f"{BOUNDS['ratio']} times full")
        above.set(title=family, xscale="log", yscale="log", xlabel="trained numbers (equal ones side by side)")
        above.set_xticks((0.03, 0.1, 0.3, 1))
        above.xaxis.set_major_formatter(PercentFormatter(1, 0))
        below.set_xticks(steps, [f"{step:.0f}" for step in steps])
        below.set_xlabel("steps")
        for panel in (above, below):
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.grid(alpha=0.25)
    axes[0, 0].set_ylabel("relative L2 error at the end")
    axes[1, 0].set_ylabel("relative L2 error")
    handles = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels())))
    kept = {label: handle for label, handle in handles.items() if label[:7] not in ("LoTRA 2", "LoTRA 4")}
    figure.legend(kept.values(), kept, loc="outside lower center", ncols=min(len(kept), 2 * len(results)), frameon=False)
    return figure
