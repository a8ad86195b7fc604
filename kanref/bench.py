"""The project's benchmark: `kanref bench [--peers PYTHON]`.

Every case is one network on one set of points. kanref and the peers (in a process of their own, under the interpreter
that has them; see `kanref.bench_peers`) first compute the same value and gradient, and only those that agree to 1e-12 are
compared; fast-kan, another function, is timed for information. Then all are timed in turn, round after round, so that a
machine whose speed drifts drifts for all. The table shows medians in milliseconds and, as the figure to quote, the ratio
of the fastest agreeing peer to kanref beside the targets.

kinds: fit (loss and gradient), pinn (Laplacian in the loss, and gradient), lbfgs (ten iterations), forward, pipeline (pykan's
hello world, from data to a formula, beside `kanref.discover`; only formulas that test to 1e-6 count); slim and lotra (steps of
Adam of a network of low tensor rank, slim-pinn and lotra-pinn with a Laplacian): there the only peer is "full", the same
function with all its weights trained in full, which has to give the same value and, pulled back, the same gradient.
"""

import gc
import json
import operator
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np

from kanref import lotra, objectives, optimize, slim
from kanref.network import kan
from kanref.words import aligned

AGREEMENT = {"float64": 1e-12, "float32": 2e-4}  # of value and gradient, relative to the largest entry
SPINCOUNT = "GOMP_SPINCOUNT", "10000"  # what kanref.kernels sets for itself
RESET = "/proc/self/clear_refs"  # where Linux forgets a process's peak memory
ANOTHER_FUNCTION = "fast-kan"  # timed, never compared
FOUND = 1e-6  # test RMSE of a formula that is the right one
PIPELINES = 2  # of pykan's, each of a minute or more
LOW_RANK = "slim", "lotra"  # kinds, and with "-pinn"
STEPS = 10  # of Adam, of which one is reported
SLOW = 2.0  # seconds for one evaluation beyond which a peer is timed once


@dataclass(frozen=True)
class Case:
    """widths, intervals, samples; must and goal: the least and the wanted ratio (fastest peer / kanref); ranks: of Tucker weights
    or adapters, for kinds that have them."""

    name: str
    widths: tuple[int, ...]
    intervals: int
    samples: int
    kind: str = "fit"
    must: float | None = None
    goal: float | None = None
    dtype: str = "float64"
    ranks: int | None = None


def low_rank(name, widths, samples, ranks=8, intervals=5, must=1.0, goal=2.0, pinn=False):
    """The cases "slim-name" and "lotra-name", or "slim-pinn-name" and "lotra-pinn-name"."""
    kinds = [f"{kind}-pinn" if pinn else kind for kind in LOW_RANK]
    return [Case(f"{kind}-{name}", widths, intervals, samples, kind, must, goal, ranks=ranks) for kind in kinds]


CASES = (
    Case("tiny", (2, 5, 1), 5, 1000, "fit", 12, 25),
    Case("small", (4, 10, 10, 1), 10, 1024, "fit", 12, 25),
    Case("grid20", (2, 10, 1), 20, 10000, "fit", 50, 130),
    Case("mnist128", (784, 64, 10), 5, 128, "fit", 2, 3),
    Case("mnist1024", (784, 64, 10), 5, 1024, "fit", 3, 5),
    Case("mid64", (64, 64, 64), 16, 4096, "fit", 12, 25),
    Case("deep100", (100, 100, 100, 10), 3, 512, "fit", 4, 6),
    Case("pinn-tiny", (2, 5, 1), 5, 1000, "pinn", 25, 50),
    Case("pinn-deep", (2, 10, 10, 1), 10, 2048, "pinn", 50, 100),
    Case("pinn-grid20", (2, 10, 1), 20, 10000, "pinn", 100, 220),
    Case("lbfgs-tiny", (2, 5, 1), 5, 1000, "lbfgs", 10, 20),
    Case("lbfgs-small", (4, 10, 10, 1), 10, 1024, "lbfgs", 10, 25),
    Case("lbfgs-grid20", (2, 10, 1), 20, 10000, "lbfgs", 30, 100),
    Case("forward-tiny", (2, 5, 1), 5, 1000, "forward"),
    Case("forward-small", (4, 10, 10, 1), 10, 1024, "forward"),
    Case("forward-mnist1024", (784, 64, 10), 5, 1024, "forward"),
    Case("hello", (2, 5, 1), 3, 1000, "pipeline", 10, 50),
    Case("mid64-float32", (64, 64, 64), 16, 4096, "fit", dtype="float32"),
    *low_rank("tiny", (2, 5, 1), 1000, ranks=4),
    *low_rank("16", (2, 16, 16, 1), 1000),
    *low_rank("32", (2, 32, 32, 1), 1000),
    *low_rank("tiny", (2, 5, 1), 1000, ranks=4, pinn=True),
    *low_rank("16", (2, 16, 16, 1), 1000, pinn=True),
    *low_rank("32", (2, 32, 32, 1), 1000, pinn=True),
    *low_rank("64", (64, 64), 1024),
    *low_rank("256", (256, 256), 256, must=2.0, goal=4.0),
    *low_rank("256-1024", (256, 256), 1024, must=2.0, goal=4.0),
    *low_rank("mnist", (784, 64, 10), 256),
)


class Mine:
    """kanref on a case: the same parameters and data as the peers get, and what is timed; or another network on its data."""

    def __init__(self, case, other=None):
        rng = np.random.default_rng(0)
        dtype = np.dtype(case.dtype)
        self.net = kan(list(case.widths), intervals=case.intervals)
        self.theta = self.net.init(rng).astype(dtype)
        self.x = rng.uniform(-1, 1, (case.samples, case.widths[0])).astype(dtype)
        self.y = rng.normal(size=(case.samples, case.widths[-1])).astype(dtype)
        if other:
            self.net, self.theta = other
        if case.kind.endswith("pinn"):
            self.y = source(self.x)
            self.objective = objectives.collocation(self.net, self.x, self.poisson)
        else:
            self.objective = objectives.mse(self.net, self.x, self.y)
        self.run = {
            "fit": lambda: self.objective(self.theta),
            "pinn": lambda: self.objective(self.theta),
            "lbfgs": lambda: optimize.lbfgs(self.objective, self.theta, steps=10),
            "forward": lambda: self.net.forward(self.theta, self.x[None]),
        }.get(case.kind, lambda: optimize.adam(self.objective, self.theta, steps=STEPS, rate=1e-6))

    def poisson(self, x, u, u_i, u_ij):
        """r = laplacian u - source and its partials."""
        n = x.shape[1]
        return np.einsum("nmii->nm", u_ij) - source(x), (None, None, np.eye(n, dtype=x.dtype)[None, None, None])

    def arrays(self):
        """Parameters and data under the names that the peers' process reads."""
        views, basis = self.net.split(self.theta), [layer.terms["spline"].basis for layer in self.net.layers]
        named = {"X": self.x, "y": self.y}
        for l, b in enumerate(basis):
            named |= {
                f"l{l}.coef": views[f"{l}.spline.W"],
                f"l{l}.base": views[f"{l}.base.W"][..., 0],
                f"l{l}.knots": b.knots,
            }
        return named

    def results(self, kind):
        """What agreement is judged by: the loss, and outputs or the gradient under the peers' names."""
        if kind == "forward":
            y = self.net(self.theta, self.x)
            return {"value": np.mean((y - self.y) ** 2), "y": y}
        value, gradient = self.objective(self.theta)
        views, found = self.net.split(gradient), {"value": value}
        for l in range(len(self.net.layers)):
            found |= {f"l{l}.coef": views[f"{l}.spline.W"], f"l{l}.base": views[f"{l}.base.W"][..., 0]}
        return found


def source(x):
    """The right-hand side of the PINN cases, (N, 1)."""
    return np.sin(3 * x).sum(1, keepdims=True)


class Peers:
    """The peers' process; None of its answers is trusted before it agreed."""

    def __init__(self, python):
        worker = os.path.join(os.path.dirname(__file__), "bench_peers.py")
        environment = dict(item for item in os.environ.items() if item != SPINCOUNT)
        environment["OMP_NUM_THREADS"] = str(threads())
        self.folder = tempfile.TemporaryDirectory()
        try:
            self.process = subprocess.Popen(
                [python, worker],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
                cwd=self.folder.name,
            )
        except OSError as error:
            self.folder.cleanup()
            raise ValueError(f"--peers must be a Python interpreter, but {python} cannot be started: {error}") from None
        hello = self.ask(do="hello")
        self.names = [name for name, found in hello["peers"].items() if "version" in found]
        self.versions = {name: hello["peers"][name]["version"] for name in self.names}

    def ask(self, **request):
        try:
            print(json.dumps(request), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.close()
            raise ValueError("the peers' process ended; is --peers the interpreter that has the other libraries?")
        return json.loads(line)

    def setup(self, name, case, arrays):
        """The peer's answer, and its value and arrays to compare ({} after an error)."""
        given, out = (os.path.join(self.folder.name, f"{part}.npz") for part in ("given", "out"))
        np.savez(given, **arrays)
        described = {"widths": case.widths, "intervals": case.intervals, "degree": 3, "seed": 0}
        described |= {"kind": case.kind, "dtype": case.dtype, "batch": case.samples}
        answer = self.ask(do="setup", peer=name, case=described, file=given, out=out)
        if "error" in answer:
            return answer, {}
        with np.load(out, allow_pickle=False) as archive:
            return answer, {"value": answer["value"]} | {key: archive[key] for key in archive.files}

    def pipeline(self, seed, **arrays):
        """pykan's answer for its hello world on these arrays."""
        given = os.path.join(self.folder.name, "pipeline.npz")
        np.savez(given, **arrays)
        return self.ask(do="pipeline", file=given, seed=seed)

    def close(self):
        self.process.communicate()
        self.folder.cleanup()


def threads():
    """Threads that kanref's kernels use, and that the peers are given."""
    import numba

    return numba.get_num_threads()


def deviation(mine, theirs):
    """Largest difference relative to the largest entry, over all of `mine`; inf if one is missing, nan if one is nan."""
    if not mine.keys() <= theirs.keys():
        return np.inf
    relative = [np.abs(a - theirs[name]).max() / max(np.abs(a).max(), 1e-300) for name, a in mine.items()]
    return float(np.max(relative))  # the built-in max may lose a nan


def clock(run, repeat):
    """Seconds of `repeat` calls."""
    seconds = []
    for _ in range(repeat):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return seconds


def bench(case, peers, rounds, progress=lambda text: None):
    """One row: {"case", "kanref": median ms, "peers": {name: {"ms", "deviation"} or {"error"}}, "ratio", "must", "goal"}."""
    if case.kind == "pipeline":
        return pipeline(case, peers, rounds, progress)
    if case.kind.startswith(LOW_RANK):
        return beside_full(case, rounds, progress)
    mine = Mine(case)
    own = mine.results("fit" if case.kind == "lbfgs" else case.kind)
    mine.run()
    runs, found = {}, {}
    for name in peers.names if peers else ():
        progress(f"{case.name}: {name} computes the same")
        answer, theirs = peers.setup(name, case, mine.arrays())
        if "error" in answer:
            found[name] = {"error": answer["error"]}
            continue
        off = deviation(own, theirs) if answer["agrees"] else None
        if off is not None and not off <= AGREEMENT[case.dtype]:
            found[name] = {"error": f"differs by {off:.1e}"}
            continue
        found[name] = {"deviation": off}
        runs[name] = []
    first = {}
    for name in list(runs):
        answer = peers.ask(do="time", peer=name, repeat=1)
        if "error" in answer:
            found[name] = {"error": answer["error"].splitlines()[0]}
            del runs[name]
        else:
            first[name] = answer["seconds"][0]
    slow = {name for name, seconds in first.items() if seconds > SLOW}
    runs |= {name: [first[name]] for name in slow}
    repeat = lambda seconds: int(min(max(0.1 / max(seconds, 1e-6), 1), 200))
    own_first, own_seconds = min(clock(mine.run, 3)), []
    for turn in range(rounds):
        progress(f"{case.name}: round {turn + 1} of {rounds}")
        time.sleep(0.05)  # lets the other process's threads fall asleep
        own_seconds += clock(mine.run, repeat(own_first))
        for name, seconds in runs.items():
            if name not in slow:
                seconds += peers.ask(do="time", peer=name, repeat=repeat(first[name]))["seconds"]
    milliseconds = 1e3 * float(np.median(own_seconds))
    for name, seconds in runs.items():
        found[name]["ms"] = 1e3 * float(np.median(seconds))
    comparable = [f["ms"] for name, f in found.items() if "ms" in f and name != ANOTHER_FUNCTION]
    ratio = min(comparable) / milliseconds if comparable else None
    return {
        "case": case.name,
        "kanref": milliseconds,
        "peers": found,
        "ratio": ratio,
        "must": case.must,
        "goal": case.goal,
    }


def pipeline(case, peers, rounds, progress=lambda text: None):
    """The row of hello world: f = exp(sin(pi x) + y^2) to its formula, the same data for both, seed after seed."""
    from kanref.data.toys import SCALING
    from kanref.discover import discover
    from kanref.model import Model

    (X, y), (X_test, y_test) = (SCALING["staircase"].sample(case.samples, seed) for seed in (0, 1))
    seconds, theirs, found = [], [], {}
    for seed in range(rounds):
        progress(f"{case.name}: round {seed + 1} of {rounds}")
        begin = time.perf_counter()
        model = discover(Model.build(case.widths, intervals=case.intervals, seed=seed), X, y, seed=seed).model
        seconds.append(time.perf_counter() - begin)
        if not model.rmse(X_test, y_test) < FOUND:
            raise ArithmeticError(f"hello world: seed {seed} ends in RMSE {model.rmse(X_test, y_test):.1e}, not {FOUND}")
        if peers and "pykan" in peers.names and seed < PIPELINES:
            answer = peers.pipeline(seed, X=X, y=y[:, None], X_test=X_test, y_test=y_test[:, None])
            if "error" not in answer and answer["rmse"] is not None and answer["rmse"] < FOUND:
                theirs.append(answer["seconds"])
            else:
                found["pykan"] = {"error": answer.get("error", f"no formula with seed {seed}: RMSE {answer.get('rmse')}")}
    if theirs:
        found["pykan"] = {"ms": 1e3 * float(np.median(theirs)), "deviation": None}
    milliseconds = 1e3 * float(np.median(seconds))
    ratio = found["pykan"]["ms"] / milliseconds if theirs else None
    return {"case": case.name, "kanref": milliseconds, "peers": found, "ratio": ratio, "must": case.must, "goal": case.goal}


def beside_full(case, rounds, progress=lambda text: None):
    """The row of a network of low tensor rank: milliseconds of one of its steps, beside the full network's."""
    net, theta = of_low_rank(case)
    mine, full = Mine(case, (net, theta)), Mine(case, lotra.merge(net, theta))
    (value, gradient), (full_value, full_gradient) = mine.objective(theta), full.objective(full.theta)
    own = {"value": value, **net.split(gradient)}
    off = deviation(own, {"value": full_value, **pulled_back(net, theta, full.net, full_gradient)})
    if not off <= AGREEMENT[case.dtype]:
        raise ArithmeticError(f"{case.name}: the full network differs by {off:.1e}")
    seconds = {run: [] for run in (mine.run, full.run)}
    first = [min(clock(run, 2)) for run in seconds]
    for turn in range(rounds):
        progress(f"{case.name}: round {turn + 1} of {rounds}")
        for _ in range(int(min(max(0.3 / max(sum(first), 1e-6), 1), 100))):  # in turn, so that both meet the same machine
            for run, found in seconds.items():
                found += clock(run, 1)
    mine_ms, full_ms = (1e3 * float(np.median(found)) / STEPS for found in seconds.values())
    found = {"kanref": mine_ms, "peers": {"full": {"ms": full_ms, "deviation": off}}, "ratio": full_ms / mine_ms}
    return {"case": case.name, **found, "must": case.must, "goal": case.goal}


def of_low_rank(case):
    """The network of a case, and its theta: a truncated HOSVD of random weights, or random adapters on them."""
    rng = np.random.default_rng(1)
    net = kan(list(case.widths), intervals=case.intervals)
    theta = net.init(rng)
    if case.kind.startswith("slim"):
        return slim.slimmed(net, theta, case.ranks)
    net, theta = lotra.adapt(net, theta, case.ranks)
    return net, theta + rng.normal(0, 0.01, theta.size)


def pulled_back(net, theta, full, gradient):
    """{name: adjoint} of `net`'s arrays from the gradient of the same network written out, by the definition of its weights."""
    views, W_bars, found = net.split(theta), full.split(gradient), {}
    for l, layer in enumerate(net.layers):
        for name, term in layer.terms.items():
            own = {array: views[f"{l}.{name}.{array}"] for array in term.arrays}
            bars = term.weights.pullback(own, W_bars[f"{l}.{name}.W"])
            found |= {f"{l}.{name}.{array}": a for array, a in bars.items()}
    return found


def startup():
    """Fresh processes: import, and import to the first trained step from a warm and from a cold disk cache.

    Rows (what, value, unit, limit), as from `properties` and `ratios`.
    """
    step = (
        "import numpy as np, kanref;"
        "m = kanref.Model.build([2, 5, 1]); X = np.random.default_rng(0).uniform(-1, 1, (1000, 2));"
        "m.fit(X, X[:, 0] * X[:, 1], steps=1, progress=False)"
    )

    def seconds(code, **environment):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **environment})
        return time.perf_counter() - begin

    bare = min(seconds("pass") for _ in range(5))
    with tempfile.TemporaryDirectory() as cache:
        cold = seconds(step, NUMBA_CACHE_DIR=cache) - bare
        warm = min(seconds(step, NUMBA_CACHE_DIR=cache) for _ in range(3)) - bare
    quick = min(seconds("import kanref") for _ in range(5)) - bare
    return [
        ("import kanref", quick, "s", 0.25),
        ("to the first step, warm", warm, "s", 1.5),
        ("to the first step, cold", cold, "s", 15.0),
    ]


def properties():
    """Cost per call, the dependence on the number of intervals, linearity, and memory (on Linux)."""

    def median(case):
        run = Mine(case).run
        run()
        repeat = int(min(max(0.2 / min(clock(run, 3)), 5), 2000))
        return float(np.median(clock(run, repeat)))

    single = median(Case("single", (2, 5, 1), 5, 1))
    coarse, fine = (median(Case("intervals", (10, 10, 1), G, 10000)) for G in (5, 320))
    short, long = (median(Case("batch", (10, 10, 1), 5, N)) for N in (20000, 80000))
    few, many = (median(Case("edges", (32, width, 1), 5, 4096)) for width in (32, 128))
    found = [
        ("one sample of [2, 5, 1]", 1e6 * single, "us", 60),
        ("320 intervals against 5", fine / coarse, "x", 1.3),
        ("4 times the samples", long / short, "x", 4.6),
        ("4 times the edges", many / few, "x", 4.6),
    ]
    if os.path.exists(RESET):
        found.append(("peak memory of a step, mnist1024", memory("mnist1024"), "x", 2))
    return found


def memory(name):
    """`step_memory` of a case in a fresh process, whose allocator gives back what is freed."""
    code = f"from kanref import bench; print(bench.step_memory({name!r}))"
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environment, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def step_memory(name):
    """Peak memory of a step of Adam, relative to what it cannot do without (Linux).

    That is: parameters, gradient, m and v, and the inputs, hidden values and outputs of all layers. Counted is all that
    the process takes between having nothing of the case and the end of the step, after another step has compiled.
    """

    def status(field):
        with open("/proc/self/status") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))

    def step():
        mine = Mine(case)
        with open(RESET, "w") as reset:
            reset.write("5")
        optimize.adam(mine.objective, mine.theta, steps=1)
        return status("VmHWM"), 4 * mine.theta.nbytes + case.samples * sum(case.widths) * mine.theta.itemsize

    case = next(case for case in CASES if case.name == name)
    step()
    gc.collect()
    before = status("VmRSS")
    peak, needed = step()
    return (peak - before) / needed


def ratios(rows):
    """Peers' time / kanref's beyond the cases' own targets, where measured; here the limit is the least."""

    def of(peer):
        return {
            row["case"]: row["peers"][peer]["ms"] / row["kanref"] for row in rows if "ms" in row["peers"].get(peer, {})
        }

    shipped, another, found = of("pykan"), of(ANOTHER_FUNCTION), []
    shipped.pop("hello", None)
    if shipped:
        least = min(shipped, key=shipped.get)
        found.append((f"pykan as shipped, least ({least})", shipped[least], "x", 50))
    if "deep100" in another:
        found.append((f"{ANOTHER_FUNCTION}, deep100", another["deep100"], "x", 1))
    return found


def judged(rows, keeps):
    """The rows with a last column: whether keeps(value, limit)."""
    return [(*row, "ok" if keeps(row[1], row[3]) else "MISSED") for row in rows]


def table(rows, peers):
    """The rows as text."""
    names = [*(peers.names if peers else []), *(["full"] if any("full" in row["peers"] for row in rows) else [])]
    head = ["case", "kanref ms", *names, "ratio", "must", "goal", ""]
    cell = lambda v: "-" if v is None else f"{v:.3g}"
    lines = [head]
    for row in rows:
        theirs = [cell(row["peers"][name].get("ms")) if name in row["peers"] else "-" for name in names]
        verdict = ""
        if row["ratio"] is not None and row["must"] is not None:
            verdict = "goal" if row["ratio"] >= row["goal"] else "must" if row["ratio"] >= row["must"] else "MISSED"
        lines.append(
            [
                row["case"],
                f"{row['kanref']:.3g}",
                *theirs,
                cell(row["ratio"]),
                cell(row["must"]),
                cell(row["goal"]),
                verdict,
            ]
        )
    return aligned(lines)


def main(peers=None, cases=None, json_file=None, quick=False, out=sys.stdout):
    """Run the benchmark and print its tables; returns 0, or 130 if interrupted.

    peers: an interpreter that has them, None for kanref alone; cases: names, None for all; json_file: where the report is kept;
    quick: two rounds in the place of seven.
    """
    known = {case.name: case for case in CASES}
    if unknown := set(cases or ()) - set(known):
        raise ValueError(f"--cases knows {', '.join(known)}, but got {', '.join(sorted(unknown))}")
    chosen = [known[name] for name in cases] if cases else CASES
    worker = Peers(peers) if peers else None
    say = lambda text: print(f"\r{text:<70}", end="", file=sys.stderr, flush=True) if sys.stderr.isatty() else None
    rows, code = [], 0
    try:
        for case in chosen:
            rows.append(bench(case, worker, 2 if quick else 7, say))
    except KeyboardInterrupt:
        code = 130
        print("\ninterrupted: the cases finished so far", file=out)
    finally:
        say("")
        if worker:
            worker.close()
    print(f"{threads()} threads; medians in milliseconds; ratio: fastest peer that agrees / kanref\n", file=out)
    print(table(rows, worker), file=out)
    for row in rows:
        for name, found in row["peers"].items():
            if "error" in found:
                print(f"  {row['case']}: {name} left out: {found['error']}", file=out)
    report = {"threads": threads(), "versions": worker.versions if worker else {}, "rows": rows}
    report["ratios"] = judged(ratios(rows), operator.ge)
    if not cases and not code:
        report["startup"], report["properties"] = judged(startup(), operator.le), judged(properties(), operator.le)
    for what, limit in {"ratios": "at least", "startup": "at most", "properties": "at most"}.items():
        if found := report.get(what):
            lines = [[name, f"{value:.3g} {unit}", bound, verdict] for name, value, unit, bound, verdict in found]
            print("\n" + aligned([[what, "", limit, ""], *lines]), file=out)
    if json_file:
        from kanref.io import write_atomically

        write_atomically(json_file, json.dumps(report, indent=1).encode())
    return code
