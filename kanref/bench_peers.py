"""Other KAN libraries at work: the process that `kanref bench --peers PYTHON` starts.

It runs under the interpreter that has the peers, so it imports nothing of kanref: only NumPy, and
each peer inside the command that needs it.  One JSON object per line comes in on stdin, one answer
goes out on stdout; whatever a peer prints goes to stderr, and an error is an answer
`{"error": "..."}`, never the end of the process (the end of stdin is).

    {"do": "hello"}       -> {"python", "threads", "peers": {name: {"version"} or {"absent": why}}}
    {"do": "setup", "peer": name, "case": {...}, "file": path, "out": path}
                          -> {"peer", "value", "agrees", "trainable", "reports"}
    {"do": "time", "peer": name, "repeat": r}
                          -> {"peer", "seconds": [...], "value", "evaluations"}
    {"do": "pipeline", "file": path, "seed": s}
                          -> {"seconds", "rmse", "formula"}

`case` holds widths, intervals, degree, kind, dtype ("float64" or "float32") and seed.  `file` is an
.npz with, for layer l, `l{l}.coef` (out, in, basis), `l{l}.base` (out, in) and `l{l}.knots`
(in, T), and the points `X` (N, n) and targets `y` (N, m); m = 1 for a PINN.  The kinds:

    fit      mean (f(X) - y)^2 and its gradient
    pinn     mean (laplacian f(X) - y)^2 and its gradient, second derivatives by autodiff
    lbfgs    ten L-BFGS iterations with strong Wolfe on the fit, from the parameters in `file`;
             the `value` of a timing is the loss reached, `evaluations` the losses computed
    forward  f(X) alone; `value` is its mean-squared error, computed off the clock

Every same-function peer represents f(x)_o = sum_i sum_m coef[o,i,m] B_m(x_i) + base[o,i] silu(x_i).
Setup writes to `out` what the parent compares (`reports` names it): the gradients under the names
of `file`, and for `forward` the outputs `y`.  Peers run in their leanest form of that function:
spline coefficients and base weights are all that is trained.  `pykan` alone is as shipped, its
scales trained and its symbolic branch on.  fast-kan is another function (Gaussians after a layer
norm): it keeps its own initial parameters, `agrees` is false, and it is timed only.

The pipeline is pykan's own hello world, from data (`X`, `y`, `X_test`, `y_test` in `file`) to a formula.

Peers stay set up side by side, so that timings can be interleaved.  OMP_NUM_THREADS says how many
threads they may use; the process binds itself to that many CPUs where it can, which JAX heeds.
"""

import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PEERS = {  # name: (module that must import, distribution that knows the version)
    "pykan": ("kan", "pykan"),
    "pykan-speed": ("kan", "pykan"),
    "efficient-kan": ("efficient_kan", "efficient-kan"),
    "jaxkan-spline": ("jaxkan.models.KAN", "jaxkan"),
    "jaxkan-base": ("jaxkan.models.KAN", "jaxkan"),
    "fast-kan": ("fastkan", "fastkan"),
}
KINDS = ("fit", "pinn", "lbfgs", "forward")
ITERATIONS = 10  # of L-BFGS, and the number of pairs it remembers


@dataclass(frozen=True)
class Ready:
    """A peer loaded with a case: what it found at the start, and what is to be timed."""

    value: float
    arrays: dict[str, np.ndarray]
    trainable: int
    run: Callable  # one timed evaluation; calling its result, off the clock: (value, evaluations)


def layers_of(data):
    """[(coef, base, knots), ...] from the file's flat names."""
    depth = sum(name.endswith(".coef") for name in data)
    return [[data[f"l{l}.{part}"] for part in ("coef", "base", "knots")] for l in range(depth)]


# Torch.  A builder gives the module and, per array, its parameter and the axes of kanref's layout.


def build_pykan(peer, case, data):
    import kan
    import torch

    lean, owned = peer == "pykan-speed", {}
    model = kan.KAN(
        width=list(case["widths"]),
        grid=case["intervals"],
        k=case["degree"],
        seed=case["seed"],
        sp_trainable=not lean,
        auto_save=False,
    )
    for l, (coef, base, knots) in enumerate(layers_of(data)):
        layer = model.act_fun[l]
        layer.coef.data = torch.tensor(coef.transpose(1, 0, 2).copy())
        layer.scale_base.data = torch.tensor(base.T.copy())
        layer.scale_sp.data = torch.ones_like(layer.scale_sp)
        layer.grid.data = torch.tensor(knots)
        owned[f"l{l}.coef"] = layer.coef, (1, 0, 2)
        owned[f"l{l}.base"] = layer.scale_base, (1, 0)
    return model.speed() if lean else model, owned


def build_efficient(peer, case, data):
    import efficient_kan
    import torch

    model, owned = torch.nn.Sequential(), {}
    for l, (coef, base, knots) in enumerate(layers_of(data)):
        layer = efficient_kan.KANLinear(
            *reversed(base.shape), case["intervals"], case["degree"], enable_standalone_scale_spline=False
        )
        layer.spline_weight.data = torch.tensor(coef)
        layer.base_weight.data = torch.tensor(base)
        layer.grid = torch.tensor(knots)
        model.append(layer)
        owned[f"l{l}.coef"] = layer.spline_weight, (0, 1, 2)
        owned[f"l{l}.base"] = layer.base_weight, (0, 1)
    return model, owned


def build_fast(peer, case, data):
    import fastkan
    import torch

    torch.manual_seed(case["seed"])
    count = case["intervals"] + case["degree"]  # as many functions to an edge as the splines have
    return fastkan.FastKAN(list(case["widths"]), num_grids=count), {}


def setup_torch(peer, case, data):
    import torch

    torch.set_num_threads(threads())
    torch.set_default_dtype(getattr(torch, case["dtype"]))
    builders = {"efficient-kan": build_efficient, "fast-kan": build_fast}
    model, owned = builders.get(peer, build_pykan)(peer, case, data)
    X, y = torch.tensor(data["X"]), torch.tensor(data["y"])
    trained = [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in trained]

    def laplacian():
        x = X.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        rows = [torch.autograd.grad(slope[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(x.shape[1])]
        return sum(rows)[:, None]

    def loss():
        model.zero_grad(set_to_none=True)
        value = (((laplacian() if case["kind"] == "pinn" else model(X)) - y) ** 2).mean()
        value.backward()
        return value

    @torch.no_grad()
    def forward():
        found = model(X)
        return lambda: (found.sub(y).square().mean().item(), 1)

    def evaluate():
        value = loss()
        return lambda: (value.item(), 1)

    def minimise():
        with torch.no_grad():
            for p, p0 in zip(trained, start, strict=True):
                p.copy_(p0)
        optimiser = torch.optim.LBFGS(
            trained,
            lr=1,
            max_iter=ITERATIONS,
            max_eval=1000,
            history_size=ITERATIONS,
            tolerance_grad=1e-32,
            tolerance_change=1e-32,
            line_search_fn="strong_wolfe",
        )
        optimiser.step(loss)
        return lambda: (loss().item(), optimiser.state[trained[0]]["func_evals"])

    if case["kind"] == "forward":
        with torch.no_grad():
            arrays = {"y": model(X).numpy()} if owned else {}
        value, run = forward()()[0], forward
    else:
        value, run = loss().item(), minimise if case["kind"] == "lbfgs" else evaluate
        arrays = {name: p.grad.permute(axes).numpy().copy() for name, (p, axes) in owned.items()}
    return Ready(value, arrays, sum(p.numel() for p in trained), run)


# JAX.  The module is split into parameters and the rest; functions of the parameters are jitted.


def build_jaxkan(peer, case, data):
    import jax.numpy as jnp
    from flax import nnx
    from jaxkan.models.KAN import KAN

    kind = peer.removeprefix("jaxkan-")
    options = {
        "k": case["degree"],
        "G": case["intervals"],
        "residual": nnx.silu,
        "external_weights": False,
        "add_bias": False,
    }
    model = KAN(list(case["widths"]), kind, options, case["seed"])
    for layer, (coef, base, knots) in zip(model.layers, layers_of(data), strict=True):
        if kind == "base":  # one row per edge, o * n_in + i
            coef, knots = coef.reshape(-1, coef.shape[2]), np.tile(knots, (len(base), 1))
        layer.c_basis = nnx.Param(jnp.asarray(coef))
        layer.c_res = nnx.Param(jnp.asarray(base))
        layer.grid.item = jnp.asarray(knots)
    return model


def setup_jax(peer, case, data):
    import jax
    import jax.numpy as jnp
    from flax import nnx

    if case["kind"] == "lbfgs":
        import optax
    jax.config.update("jax_enable_x64", case["dtype"] == "float64")
    graph, state, rest = nnx.split(build_jaxkan(peer, case, data), nnx.Param, ...)
    theta, tree = jax.tree.flatten(state)
    X, y = jnp.asarray(data["X"]), jnp.asarray(data["y"])

    def apply(theta, x):
        return nnx.merge(graph, jax.tree.unflatten(tree, theta), rest)(x)

    def laplacian(theta, x):
        f = lambda x: apply(theta, x)
        along = lambda e: jax.jvp(lambda x: jax.jvp(f, (x,), (e,))[1], (x,), (e,))[1]
        return sum(along(jnp.zeros_like(x).at[:, i].set(1)) for i in range(x.shape[1]))

    def loss(theta, x, y):
        return jnp.mean(((laplacian if case["kind"] == "pinn" else apply)(theta, x) - y) ** 2)

    def minimise(theta, x, y):
        objective = lambda theta: loss(theta, x, y)
        optimiser = optax.lbfgs(
            memory_size=ITERATIONS,
            linesearch=optax.scale_by_zoom_linesearch(max_linesearch_steps=25, initial_guess_strategy="one"),
        )
        value_and_grad = optax.value_and_grad_from_state(objective)

        def step(carry, _):
            theta, memory, count = carry
            value, slope = value_and_grad(theta, state=memory)
            updates, memory = optimiser.update(slope, memory, theta, value=value, grad=slope, value_fn=objective)
            count += memory[-1].info.num_linesearch_steps
            return (optax.apply_updates(theta, updates), memory, count), None

        first = theta, optimiser.init(theta), jnp.asarray(1)
        (_, memory, count), _ = jax.lax.scan(step, first, length=ITERATIONS)
        return memory[-1].value, count

    def compiled(function, report):
        function = jax.jit(function)

        def run():
            result = jax.block_until_ready(function(theta, X, y))
            return lambda: report(result)

        return run

    if case["kind"] == "forward":
        mse = lambda found: float(jnp.mean((found - y) ** 2))
        run = compiled(lambda theta, x, y: apply(theta, x), lambda found: (mse(found), 1))
        found = jax.jit(apply)(theta, X)
        value, arrays = mse(found), {"y": np.asarray(found)}
    else:
        both = jax.value_and_grad(loss)
        run = compiled(both, lambda last: (last[0].item(), 1))
        if case["kind"] == "lbfgs":
            run = compiled(minimise, lambda last: (last[0].item(), last[1].item()))
        value, slopes = jax.jit(both)(theta, X, y)
        arrays, state = {}, jax.tree.unflatten(tree, slopes)
        for l, (coef, base, _) in enumerate(layers_of(data)):
            layer = state["layers"][l]
            arrays[f"l{l}.coef"] = np.asarray(layer["c_basis"][...]).reshape(coef.shape)
            arrays[f"l{l}.base"] = np.asarray(layer["c_res"][...]).reshape(base.shape)
    run()  # compile before the clock starts
    return Ready(float(value), arrays, sum(leaf.size for leaf in theta), run)


def threads():
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count())


def look(module, distribution):
    """The version of a peer, or why it is absent; a broken install is as absent as none."""
    try:
        found = importlib.import_module(module)
        return {"version": getattr(found, "__version__", None) or importlib.metadata.version(distribution)}
    except Exception as error:
        return {"absent": f"{type(error).__name__}: {error}"}


def setup(peer, case, file, out):
    if peer not in PEERS:
        raise ValueError(f"peer is {peer!r}, expected one of {', '.join(PEERS)}")
    if case["kind"] not in KINDS:
        raise ValueError(f"kind is {case['kind']!r}, expected one of {', '.join(KINDS)}")
    with np.load(file, allow_pickle=False) as archive:
        data = {name: archive[name].astype(case["dtype"]) for name in archive.files}
    if case["kind"] == "pinn" and data["y"].shape[1] != 1:
        raise ValueError(f"y has {data['y'].shape[1]} columns, a PINN case needs one output")
    ready = (setup_jax if peer.startswith("jaxkan") else setup_torch)(peer, case, data)
    np.savez(out, **ready.arrays)
    return ready


def measure(run, repeat):
    if repeat < 1:
        raise ValueError(f"repeat is {repeat}, expected at least 1")
    seconds = []
    for _ in range(repeat):
        begin = time.perf_counter()
        report = run()
        seconds.append(time.perf_counter() - begin)
    value, evaluations = report()
    return {"seconds": seconds, "value": value, "evaluations": evaluations}


def pipeline(file, seed):
    """pykan's hello world as its notebook has it: [2, 5, 1] with 3 intervals; 50 steps with lamb = 1e-3, prune, 50 steps,
    refine to 10 intervals, 50 steps, auto_symbolic, 50 steps, formula."""
    import kan
    import torch

    torch.set_default_dtype(torch.float64)
    with np.load(file, allow_pickle=False) as archive:
        data = {name: torch.tensor(archive[name]) for name in archive.files}
    table = {"train_input": data["X"], "train_label": data["y"], "test_input": data["X_test"], "test_label": data["y_test"]}
    begin = time.perf_counter()
    model = kan.KAN(width=[2, 5, 1], grid=3, k=3, seed=seed)  # writes ./model
    model.fit(table, opt="LBFGS", steps=50, lamb=0.001)
    model = model.prune()
    model.fit(table, opt="LBFGS", steps=50)
    model = model.refine(10)
    model.fit(table, opt="LBFGS", steps=50)
    model.auto_symbolic()
    model.fit(table, opt="LBFGS", steps=50)
    formula = str(kan.utils.ex_round(model.symbolic_formula()[0][0], 4))
    seconds = time.perf_counter() - begin
    rmse = float(((model(table["test_input"]) - table["test_label"]) ** 2).mean().sqrt().detach())
    return {"seconds": seconds, "rmse": rmse if np.isfinite(rmse) else None, "formula": formula}


def answer(request, ready):
    """The reply to one request; `ready` maps each peer that was set up to its Ready."""
    do, peer = request["do"], request.get("peer")
    if do == "hello":
        peers = {name: look(*where) for name, where in PEERS.items()}
        return {"python": platform.python_version(), "threads": threads(), "peers": peers}
    if do == "setup":
        ready.pop(peer, None)  # free the last case first: pykan's can be gigabytes
        now = ready[peer] = setup(peer, request["case"], request["file"], request["out"])
        return {
            "peer": peer,
            "value": now.value,
            "agrees": peer != "fast-kan",
            "trainable": now.trainable,
            "reports": list(now.arrays),
        }
    if do == "time":
        if peer not in ready:
            raise ValueError(f"peer {peer!r} is not set up, send a setup request first")
        return {"peer": peer} | measure(ready[peer].run, request["repeat"])
    if do == "pipeline":
        return pipeline(request["file"], request["seed"])
    raise ValueError(f"do is {do!r}, expected hello, setup, time or pipeline")


def main():
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: threads()])
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a peer's prints must not mix with the protocol
    ready = {}
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), ready)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
