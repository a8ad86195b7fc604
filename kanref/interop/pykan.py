"""pykan checkpoints: of 0.1 and 0.2 read, of 0.2 written, state dicts of 0.0 read, without torch, pykan or PyYAML.

    model, report = read("model/0.1")             0.1_state and 0.1_config.yml, or one file with a state dict
    samples("model/0.1")                          the inputs in 0.1_cache_data, or None
    report = write(model, "model/0.2")            what KAN.loadckpt("model/0.2") loads

An edge of pykan is  mask (scale_base b(x) + scale_sp sum_m coef_m B_m(x)) + symbolic mask (c f(a x + b) + d); subnodes are
affine maps of the sums of edges, product nodes multiply `mult_arity` of them, nodes are affine maps of these. All of it has
its place in kanref, with the same numbers; `Model.extra["pykan"]` keeps the settings that concern training in pykan only.

pykan does not store which columns `prune_input` kept: give `columns`. State dicts of version 0.0 name neither base function
nor functions of symbolic edges, state dicts alone name no arities: give them as `config`, under pykan's names.
"""

import json
import math
import os
import re
from dataclasses import replace

import numpy as np

from kanref import arrays as border
from kanref import bases
from kanref.bases import BASE_FUNCTIONS, BSpline, MinMax, Pointwise
from kanref.edges import Symbolic
from kanref.functions import LIBRARY, Function
from kanref.interop import torch_zip, yaml_subset
from kanref.interop.parts import Base, Edges, Splines, assembled, edges, left_behind, widened
from kanref.interop.report import Report
from kanref.interop.staged import staged
from kanref.interop.tensors import dtype_of, read_arrays
from kanref.interop.torch_zip import regular
from kanref.interop.yaml_subset import MAX_CHARACTERS
from kanref.io import FileError, damage, write_atomically
from kanref.model import Model
from kanref.network import Layer, describe
from kanref.nodes import AFFINE

FUNCTIONS = tuple(LIBRARY)[:29]  # the names that pykan 0.2.8 knows
OLD_FUNCTIONS = (*FUNCTIONS, "sigmoid", "cosh")  # and those that only pykan 0.0 knows
SETTINGS = {"grid_eps": 0.02, "grid_range": [-1, 1], "sp_trainable": True, "sb_trainable": True}  # of training in pykan
SESSION = {"state_id": 0, "auto_save": False, "ckpt_path": "./model", "round": 0, "device": "cpu"}  # written as they are here
MODULES = {"SiLU": "silu", "Identity": "identity", "Tanh": "tanh", "Sigmoid": "sigmoid"}  # torch.nn's names
SCALARS = {"b1": "?", "i1": "i1", "i2": "i2", "i4": "i4", "i8": "i8", "u1": "u1", "u2": "u2", "u4": "u4", "u8": "u8"}
SCALARS |= {"f2": "f2", "f4": "f4", "f8": "f8"}
AS_FORMULA = {  # functions of kanref as c f(a x + b) + d with pykan's: name, a, b, c, d
    "identity": ("x", 1.0, 0.0, 1.0, 0.0),
    "tanh": ("tanh", 1.0, 0.0, 1.0, 0.0),
    "sin": ("sin", 1.0, 0.0, 1.0, 0.0),
    "sigmoid": ("tanh", 0.5, 0.0, 0.5, 0.5),
}
COLUMNS = "kanref.columns"  # an entry that pykan ignores: the columns that were not pruned


# ------------------------------------------------------------------------------------------------------------- reading


def read(path, config=None, columns=None, width=None, functions=None, strict=True):
    """The `Model` in a checkpoint, and a `Report`.

    path: what KAN.saveckpt got, or one of its files, or a file with a state dict alone (also of pykan 0.0), in any format of
    `tensors`.
    config: entries that replace those of the file, under pykan's names, as {"base_fun_name": "identity"}.
    columns: of the data that the inputs are, after prune_input; width: the number of columns of the data.
    functions: {name: Function or Pointwise} for functions of your own. strict: refuse what would be another function.

    Raises FileNotFoundError, `FileError` for files that are damaged or hostile, `Unrepresentable` for what kanref has no place
    for. Nothing in the files is executed.
    """
    state_path, config_path, _ = _files(path)
    state = read_arrays(state_path)
    found = ({} if config_path is None else _config(config_path)) | dict(config or {})
    report = Report("pykan to kanref")
    with damage(state_path if config_path is None else f"{state_path} with {config_path}"):
        depth = sum(re.fullmatch(r"act_fun\.\d+\.coef", name) is not None for name in state)
        if not depth:
            raise FileError(f"{state_path} is no pykan checkpoint: it has no act_fun.0.coef")
        if old := "biases.0.weight" in state:
            state = _modern(state, depth)
            report.changed.append(
                "pykan 0.0 does not store locks: each edge has its own row of the file. If some were locked to one another, copy "
                "grid and coef of the first to the others before saving"
            )
        base = _base(found, functions, old, report)
        trained = ("node_bias",) if old else AFFINE if found.get("affine_trainable") else ()
        arity = _arity(found, state, depth, report)
        known = {name: LIBRARY[name] for name in (OLD_FUNCTIONS if old else FUNCTIONS)} | dict(functions or {})
        wrong = "gives NaN" if old else "evaluates wrongly (its values there are too small)"
        layers = [_edges(state, found, l, arity[l], base, trained, known, wrong, report) for l in range(depth)]
        own = re.compile(r"(act_fun|symbolic_fun)\.\d+\.|(sub)?node_(bias|scale)_\d+$")
        report.strangers([name for name in state if not own.match(name)])
        if session := [key for key, value in SESSION.items() if found.get(key, value) != value]:
            report.dropped.append(f"what concerns the session that wrote the file: {', '.join(session)}")
        if fixed := [name for name in ("sp_trainable", "sb_trainable") if found.get(name) is False]:
            report.changed.append(f"{' and '.join(fixed)} false in pykan: those scales are trained here like all others")
        layers, columns, width = _columns(layers, found, columns, width, report)
        dtype = dtype_of(a for name, a in state.items() if name.endswith(".coef"))
        net, theta = assembled([own.layer() for own in layers], dtype, report)
        report.kept.append(f"{sum(len(own.formulas) for own in layers)} formulas on edges")
    settings = {key: found[key] for key in (*SETTINGS, "symbolic_enabled") if _simple(found.get(key))}
    model = Model(net, theta, extra={"pykan": settings}, width=width, columns=columns)
    return model, report.settled(strict)


def samples(path):
    """The inputs (N, n) that pykan kept of its last forward pass, or None."""
    state, _, cache = _files(path, missing=True)
    if cache is None:
        if state is None and not os.path.exists(path):
            raise FileNotFoundError(f"there is no pykan checkpoint {path}")
        return None
    found = torch_zip.read(cache)
    if found is not None and not (isinstance(found, np.ndarray) and found.ndim == 2):
        raise FileError(f"{cache} holds no matrix of samples, but {type(found).__name__}")
    return found


def is_checkpoint(path):
    """Whether pykan's files are there under this name."""
    return _files(path, missing=True)[1] is not None


def files(path):
    """Paths of state, configuration and cached samples of a checkpoint, which is named without these ends or by any of them."""
    stem = re.sub(r"_(state|config\.yml|cache_data)$", "", os.fspath(path))
    return [f"{stem}_{kind}" for kind in ("state", "config.yml", "cache_data")]


def _files(path, missing=False):
    """The same; None for those that are not there."""
    state, config, cache = (name if os.path.exists(name) else None for name in files(path))
    if state is None and not missing:
        if not os.path.exists(path) or config is not None:
            raise FileNotFoundError(f"there is no pykan checkpoint {path}: neither {files(path)[0]} nor a file of that name")
        return path, None, None
    return state, config if state else None, cache


def _config(path):
    if os.path.getsize(regular(path)) > MAX_CHARACTERS:
        raise FileError(f"{path} has more than {MAX_CHARACTERS} bytes; no configuration needs that")
    try:
        with open(path, encoding="utf-8") as file:
            found = _plain(yaml_subset.parse(file.read()))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} cannot be read as YAML: {error}") from None
    if not isinstance(found, dict):
        raise FileError(f"{path} holds no configuration, but {type(found).__name__}")
    return found


def _plain(value):
    """A value with NumPy's scalars, which YAML has as tagged bytes, as numbers; other tags stay inert."""
    if isinstance(value, dict):
        return {key: _plain(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_plain(own) for own in value]
    if not (isinstance(value, yaml_subset.Tagged) and value.tag.endswith("multiarray.scalar")):
        return value
    match value.value:
        case [yaml_subset.Tagged(value={"args": [str(code), *_], "state": [_, str(order), *_]}), bytes(data)]:
            dtype = np.dtype(SCALARS[code] if code in SCALARS else "V0").newbyteorder({">": ">"}.get(order, "<"))
            if dtype.itemsize and len(data) == dtype.itemsize:
                return np.frombuffer(data, dtype)[0].item()
    return value


def _simple(value):
    """Whether JSON can keep a value of the configuration."""
    plain = lambda v: isinstance(v, bool | int | str) or (isinstance(v, float) and math.isfinite(v))
    return plain(value) or (isinstance(value, list) and all(map(plain, value)))


def _modern(state, depth):
    """A state dict of version 0.0 in the form of version 0.2, but with knots (P, Q, T) for every edge.

    Edges were rows in the order j * in + i, knots were extended in every evaluation, biases were added on the nodes.
    """
    found = {}
    for l in range(depth):
        axes = {"grid": 2, "coef": 2, "scale_base": 1, "scale_sp": 1, "mask": 1}
        own = {name: _array(state, f"act_fun.{l}.{name}", n) for name, n in axes.items()}
        bias = _array(state, f"biases.{l}.weight", 2).ravel()
        Q, size = len(bias), len(own["coef"])
        if size % Q or any(len(a) != size for a in own.values()):
            raise FileError(f"act_fun.{l}.coef has {size} rows: not edges to {Q} nodes, or not as many as other arrays")
        P, degree = size // Q, own["coef"].shape[1] - own["grid"].shape[1] + 1
        border.integer(degree, f"degree of layer {l}", 0, bases.MAX_DEGREE)
        for name, a in own.items():
            found[f"act_fun.{l}.{name}"] = a.reshape(Q, P, *a.shape[1:]).swapaxes(0, 1)
        found[f"act_fun.{l}.grid"] = extended(found[f"act_fun.{l}.grid"], degree)
        found[f"node_bias_{l}"], found[f"node_scale_{l}"] = bias, np.ones_like(bias)
        found[f"subnode_bias_{l}"], found[f"subnode_scale_{l}"] = np.zeros_like(bias), np.ones_like(bias)
    parts = re.compile(r"(act_fun|biases)\.\d+\.")
    return found | {name: a for name, a in state.items() if not parts.match(name)}


def extended(grid, degree):
    """Knots (..., G+1) with `degree` more on each side, in steps of the mean interval, added one by one as pykan does."""
    h = (grid[..., -1:] - grid[..., :1]) / (grid.shape[-1] - 1)
    for _ in range(degree):
        grid = np.concatenate([grid[..., :1] - h, grid, grid[..., -1:] + h], -1)
    return grid


def _base(found, functions, old, report):
    """The base function: by name, by the name of torch's class that a checkpoint after prune_input has, or the user's."""
    name = found.get("base_fun_name")
    if name is None:
        report.changed.append("the base function is not stored; SiLU is taken" + " (give config)" * (not old))
        return bases.silu
    if isinstance(name, yaml_subset.Tagged):
        module = name.tag.rpartition(".")[2]
        report.changed.append(f"the base function is stored as the object {name.tag.rpartition(':')[2]}, read by its name")
        name = MODULES.get(module, module)
    own = {} if functions is None else functions
    function = own.get(name, BASE_FUNCTIONS.get(name) if isinstance(name, str) else None)
    if not isinstance(function, Pointwise):
        report.differs.append(
            f"the base function {name!r:.60} is not known; give functions={{{name!r:.60}: Pointwise(...)}} or "
            'config={"base_fun_name": "silu"}'
        )
        return bases.zero
    return function


def _arity(found, state, depth, report):
    """The arity of every node of all levels but the inputs: sum nodes first."""
    levels, given = [], found.get("mult_arity", 2)
    if isinstance(given, list) and len(given) != depth + 1:
        raise FileError(f"mult_arity must be a number or {depth + 1} lists, but it is {given!r:.80}")
    width = found.get("width")
    counts = [len(_array(state, "act_fun.0.coef", 3)), *(len(_array(state, f"node_bias_{l}", 1)) for l in range(depth))]
    if width is None:
        width = counts
        if any(len(_array(state, f"subnode_bias_{l}", 1)) != width[l + 1] for l in range(depth)):
            raise FileError('there are product nodes, but no configuration: give config={"width": ..., "mult_arity": ...}')
    if not isinstance(width, list) or len(width) != depth + 1:
        raise FileError(f"width must have {depth + 1} levels as the state dict does, but it is {width!r:.80}")
    for l, level in enumerate(width):
        pair = level if isinstance(level, list) else [level, 0]
        if len(pair) != 2 or any(type(n) is not int or n < 0 for n in pair):
            raise FileError(f"width[{l}] must be a number or [sums, products], but it is {level!r:.40}")
        if sum(pair) != counts[l]:
            raise FileError(f"width[{l}] is {level}, but the state dict has {counts[l]} nodes there")
        sums, products = pair
        own = given[l] if isinstance(given, list) else [given] * products
        if not isinstance(own, list) or len(own) != products or any(type(a) is not int for a in own):
            raise FileError(f"mult_arity[{l}] must be {products} numbers as width[{l}] says, but it is {own!r:.40}")
        levels.append((1,) * sums + tuple(border.integer(a, f"mult_arity[{l}]", 2, 100) for a in own))
    return levels[1:]


def _edges(state, found, l, arity, base, trained, functions, wrong, report):
    """The `Edges` of layer l. functions: {name: Function}; wrong: what pykan does where knots are repeated."""
    take = lambda name, axes: _array(state, name, axes)
    coef = take(f"act_fun.{l}.coef", 3).swapaxes(0, 1)
    (Q, P, K), name = coef.shape, f"act_fun.{l}.grid"
    knots = state[name] if name in state and state[name].ndim == 3 else take(name, 2)  # (P, Q, T) if they were pykan 0.0's
    degree = border.integer(knots.shape[-1] - K - 1, f"degree of layer {l} (knots less functions less 1)", 0, bases.MAX_DEGREE)
    if (knots[..., 1:] == knots[..., :-1]).any():
        report.differs.append(f"layer {l}: repeated knots, where pykan {wrong}; kanref computes the splines themselves")
    knots = knots if knots.ndim == 2 else knots.swapaxes(0, 1)
    edge = {name: take(f"act_fun.{l}.{name}", 2).T for name in ("mask", "scale_base", "scale_sp")}
    affine = {name: take(f"{name}_{l}", 1) for name in AFFINE}
    on, rows = take(f"symbolic_fun.{l}.mask", 2), take(f"symbolic_fun.{l}.affine", 3)
    shapes = {"mask": edge["mask"], "scale_base": edge["scale_base"], "scale_sp": edge["scale_sp"], "symbolic mask": on}
    expected = dict.fromkeys(shapes, (Q, P)) | {name: (len(arity),) for name in AFFINE}
    expected |= {"subnode_scale": (sum(arity),), "subnode_bias": (sum(arity),), "symbolic affine": (Q, P, 4)}
    for name, a in (shapes | affine | {"symbolic affine": rows}).items():
        if a.shape != expected[name]:
            raise FileError(f"{name} of layer {l} has shape {a.shape}, but width and arity need {expected[name]}")
    formulas = _formulas(on, rows, found, l, functions, report)
    splines = Splines(knots.astype(np.float64), degree, coef, edge["scale_sp"], edge["mask"].astype(np.float64))
    own = (Base(base, edge["scale_base"], splines.mask),)
    return Edges((Q, P), (splines,), own, formulas, arity=arity, affine=affine, trained=trained)


def _array(state, name, axes):
    if name not in state:
        raise FileError(f"the state dict lacks {name}")
    if state[name].ndim != axes or state[name].dtype.kind != "f":
        raise FileError(f"{name} must have {axes} axes of floats, but it has shape {state[name].shape} of {state[name].dtype}")
    return state[name]


def _formulas(on, rows, found, l, functions, report):
    """{(q, p): (Function, (a, b, c, d))} of the symbolic edges that are switched on."""
    names, formulas = found.get(f"symbolic.funs_name.{l}"), {}
    places = [(int(q), int(p)) for q, p in np.argwhere(on)]
    if len(idle := np.argwhere((on == 0) & rows.any(-1))):
        report.dropped.append(f"layer {l}: affine parameters of {len(idle)} symbolic edges that are switched off")
    if not found.get("symbolic_enabled", True):
        if places:
            report.dropped.append(f"layer {l}: {len(places)} symbolic edges, as symbolic_enabled is false")
        return {}
    for q, p in places:
        try:
            name = names[q][p]
        except (TypeError, IndexError, KeyError):
            name = None
        function = functions.get(name) if isinstance(name, str) else None
        if not isinstance(function, Function):
            what = "is not named" if name is None else f"has the unknown function {name!r:.40}"
            report.differs.append(
                f"layer {l}: the symbolic edge from {p} to {q} {what}; give "
                + (f'config={{"symbolic.funs_name.{l}": ...}}' if name is None else f"functions={{{name!r:.40}: Function(...)}}")
            )
            continue
        weight = on[q, p]
        if weight != 1:
            report.changed.append(f"layer {l}: the symbolic mask {weight:g} of the edge from {p} to {q} is in its c and d")
        formulas[q, p] = function, rows[q, p] * np.array([1, 1, weight, weight], rows.dtype)
    return formulas


def _columns(layers, found, columns, width, report):
    """Layers, columns and width: as given, or as `write` left them in the file."""
    P = layers[0].shape[1]
    kept = found.get(COLUMNS)
    if columns is None and isinstance(kept, list) and kept and all(isinstance(c, int) and 0 <= c < P for c in kept):
        gone = np.setdiff1d(np.arange(P), kept)
        first = layers[0]
        unused = not first.splines[0].mask[:, gone].any() and not any(p in gone for _, p in first.formulas)
        if unused and len(set(kept)) == len(kept):
            report.kept.append(f"columns {kept} of {P}; the others have no edges")
            return [_select(first, kept), *layers[1:]], tuple(kept), P
    if columns is None and isinstance(found.get("base_fun_name"), yaml_subset.Tagged):
        report.changed.append("if prune_input made this file: pykan does not store which columns it kept; give columns")
    if columns is not None and width is None:
        width = max(columns, default=0) + 1
        report.changed.append(f"the data are taken to have {width} columns, up to the last one used: give width otherwise")
    return layers, columns, width


def _select(own, inputs):
    """The edges from some inputs."""
    pick = lambda a: None if a is None else a[:, inputs]
    s = own.splines[0]
    splines = Splines(s.knots[inputs], s.degree, pick(s.coef), pick(s.scale), pick(s.mask))
    others = tuple(Base(b.function, pick(b.weight), pick(b.mask)) for b in own.bases)
    formulas = {(q, inputs.index(p)): f for (q, p), f in own.formulas.items()}
    return replace(own, shape=(own.shape[0], len(inputs)), splines=(splines,), bases=others, formulas=formulas)


# ------------------------------------------------------------------------------------------------------------- writing


def write(model, path, samples=None, strict=True):
    """Write a `Model` as the checkpoint `path` of pykan 0.2.8, three files; returns a `Report`.

    samples: inputs (N, columns of the data) that pykan keeps as cache_data; its refine and prune use them.
    Columns that the model does not take become inputs without edges; input maps become a layer of formulas; nodes are sorted,
    sums first. Raises `Unrepresentable`, before anything is written, for what pykan 0.2.8 cannot compute.

    pykan loads the numbers into its default precision: call torch.set_default_dtype(torch.float64) before for all digits.
    """
    report = Report("kanref to pykan")
    net, theta = _without_maps(*_sorted(model.net, model.theta, report), report)
    layers = [edges(layer, own, l, report) for l, (layer, own) in enumerate(zip(net.layers, net.of_layers(theta)))]
    pruned, settings = len(model.columns) < model.width, model.extra.get("pykan", {})
    if pruned:
        layers[0] = widened(layers[0], model.columns, model.width)
        report.changed.append(f"the {model.width - len(model.columns)} columns without an input become inputs without edges")
    state, config = _checkpoint(layers, theta.dtype, settings, report)
    config |= {key: settings[key] if _simple(settings.get(key)) else value for key, value in SETTINGS.items()} | SESSION
    config |= {COLUMNS: list(model.columns)} if pruned else {}
    report.kept.append(f"width {config['width']}, grid {config['grid']}, k {config['k']}, {theta.dtype}")
    report.dropped.extend(left_behind(model))
    report.settled(strict)
    if samples is not None:
        samples = border.points(samples, model.width, "samples").astype(theta.dtype, copy=False)
    with staged(files(path)) as folder:
        state_path, config_path, cache_path = files(os.path.join(folder, os.path.basename(path)))
        torch_zip.write(state_path, state)
        torch_zip.write(cache_path, samples)
        write_atomically(config_path, "".join(f"{key}: {_yaml(config[key])}\n" for key in sorted(config)).encode())
    return report


def _sorted(net, theta, report):
    """The network with the sum nodes of every level before its product nodes."""
    orders = [np.arange(net.inputs)]
    for layer in net.layers:
        products = np.array(layer.nodes.arity if layer.nodes else (1,) * layer.outputs) > 1
        orders.append(np.argsort(products, kind="stable"))
    if (np.diff(orders[-1]) < 0).any():
        report.differs.append(f"the outputs come in the order {orders[-1].tolist()}: pykan has sums before products")
    return (net, theta) if all((np.diff(order) > 0).all() for order in orders) else net.select(theta, orders)


def _without_maps(net, theta, report):
    """The network with a layer of formulas in the place of every input map."""
    layers, arrays = [], []
    for l, (layer, own) in enumerate(zip(net.layers, net.of_layers(theta))):
        rows = None if layer.normalise is None else _map(layer.normalise, layer.inputs)
        if rows is not None:
            name, affine = rows
            formulas = tuple((p, p, LIBRARY[name]) for p in range(layer.inputs))
            layers.append(Layer({"symbolic": Symbolic((layer.inputs, layer.inputs), formulas)}))
            arrays.append({"symbolic.affine": affine})
            report.changed.append(f"layer {l}: its input map becomes a layer of its own, {layer.inputs} formulas {name}")
        elif layer.normalise is not None:
            report.differs.append(f"layer {l}: pykan has no function for its input map {describe(layer.normalise)}")
        layers.append(replace(layer, normalise=None))
        arrays.append(own)
    return net.rebuilt(layers, arrays, theta.dtype)


def _map(normalise, inputs):
    """An input map as the name of one of pykan's functions and rows (a, b, c, d); None if there is none."""
    if isinstance(normalise, MinMax):
        slope = 2 / (normalise.high - normalise.low)
        one = np.ones(inputs)
        return "x", np.stack([slope, -normalise.low * slope - 1, one, 0 * one], 1)
    name, *row = AS_FORMULA.get(getattr(normalise, "name", None), (None,))
    return (name, np.tile(row, (inputs, 1))) if name and BASE_FUNCTIONS[normalise.name] is normalise else None


def _checkpoint(layers, dtype, settings, report):
    """State dict and structural configuration."""
    known = [b.function for own in layers for b in own.bases]
    base = next((f for f in (bases.silu, bases.identity, bases.zero) if f in known), bases.silu)
    sizes = [(own.splines[0].degree, own.splines[0].coef.shape[2]) for own in layers if own.splines]
    degrees, grids, names, state = [], [], {}, {}
    for l, own in enumerate(layers):
        degree, K = (own.splines[0].degree, own.splines[0].coef.shape[2]) if own.splines else [*sizes, (3, 6)][0]
        if degree == 0:
            report.impossible.append(f"layer {l}: degree 0, for which pykan's constructor fails")
        edge, formulas = _numeric(own, l, base, degree, K, report), dict(own.formulas)
        if (np.diff(edge["grid"].astype(dtype)) == 0).any():
            report.differs.append(f"layer {l}: repeated knots (in {dtype}), which pykan evaluates wrongly; use simple knots")
        if (edge["grid"].astype(dtype) != edge["grid"]).any():
            report.changed.append(f"layer {l}: knots are rounded to {dtype}")
        for b in own.bases:
            if b.function not in (base, bases.zero):
                _as_formulas(b, formulas, l, report)
        on, affine = np.zeros(own.shape), np.zeros((*own.shape, 4))
        names[l] = [["0"] * own.shape[1] for _ in range(own.shape[0])]
        for (q, p), (f, row) in formulas.items():
            names[l][q][p], affine[q, p] = _named(f, row, f"layer {l}: the formula from {p} to {q}", report)
            on[q, p] = 1
        state |= {f"act_fun.{l}.{name}": edge[name] for name in ("grid", "coef", "mask", "scale_base", "scale_sp")}
        state |= {f"symbolic_fun.{l}.mask": on, f"symbolic_fun.{l}.affine": affine}
        state |= {f"{name}_{l}": a for name, a in _affine(own, l, report).items()}
        degrees.append(degree)
        grids.append(K - degree)
    order = sorted(state, key=lambda name: (name.startswith("symbolic_fun"), name.startswith("act_fun")))  # as pykan has them
    state = {name: np.ascontiguousarray(state[name], dtype) for name in order}
    symbolic = [name for name in state if name.startswith("symbolic_fun") and name.endswith("mask")]
    products = [[]] + [[a for a in own.arity if a > 1] for own in layers]
    arities = {a for own in products for a in own}
    one = lambda values: values[0] if len(set(values)) == 1 else values
    config = {
        "width": [[layers[0].shape[1], 0]] + [[own.arity.count(1), len(more)] for own, more in zip(layers, products[1:])],
        "grid": one(grids),
        "k": one(degrees),
        "mult_arity": products if len(arities) > 1 else min(arities, default=2),
        "base_fun_name": base.name,
        "symbolic_enabled": settings.get("symbolic_enabled") is not False or any(state[name].any() for name in symbolic),
        "affine_trainable": any(own.trained or own.bias is not None for own in layers),
        **{f"symbolic.funs_name.{l}": own for l, own in names.items()},
    }
    return state, config


def _numeric(own, l, base, degree, K, report):
    """grid, coef (P, Q, K), mask, scale_base, scale_sp (P, Q) of a layer: one mask for splines and base."""
    Q, P = own.shape
    used = [b for b in own.bases if b.function is base]
    masks = [part.mask for part in (*own.splines, *used)]
    masks = [np.ones((Q, P)) if mask is None else mask for mask in masks]
    mask = masks[0] if masks else np.zeros((Q, P))
    same = all(np.array_equal(mask, other) for other in masks) and len(used) < 2
    if not same:
        report.changed.append(f"layer {l}: the masks of splines and base differ and are multiplied into their weights")
    factors = [None if same else other for other in masks]
    times = lambda a, factor: a if factor is None else a * factor.reshape(Q, P, *(1,) * (a.ndim - 2))
    weight = sum((times(b.weight, f) for b, f in zip(used, factors[len(own.splines) :])), np.zeros((Q, P)))
    found = {"mask": (mask if same else np.ones((Q, P))).T, "scale_base": weight.T}
    if not own.splines:
        nothing = {"coef": np.zeros((P, Q, K)), "scale_sp": np.zeros((P, Q))}
        return found | {"grid": BSpline.uniform(P, K - degree, degree).knots, **nothing}
    s = own.splines[0]
    scale = times(np.ones((Q, P)) if s.scale is None else s.scale, factors[0])
    return found | {"grid": s.knots, "coef": s.coef.swapaxes(0, 1), "scale_sp": scale.T}


def _as_formulas(b, formulas, l, report):
    """A base branch that is not the network's base function, as formulas on all edges where it is not 0."""
    weight = b.weight if b.mask is None else b.weight * b.mask
    places = [(int(q), int(p)) for q, p in np.argwhere(weight)]
    if b.function.name not in AS_FORMULA or BASE_FUNCTIONS[b.function.name] is not b.function:
        report.differs.append(f"layer {l}: the base function {b.function.name!r}; pykan stores silu, identity and zero by name")
    elif taken := [place for place in places if place in formulas]:
        report.differs.append(f"layer {l}: the edge from {taken[0][1]} to {taken[0][0]} has a formula and a second base function")
    else:
        name, a, shift, c, d = AS_FORMULA[b.function.name]
        formulas.update({place: (LIBRARY[name], np.array([a, shift, c * weight[place], d * weight[place]])) for place in places})
        report.changed.append(f"layer {l}: the base function {b.function.name} becomes {len(places)} formulas {name}")


def _named(f, row, place, report):
    """pykan's name of a function, and (a, b, c, d)."""
    if f.name in FUNCTIONS and LIBRARY[f.name] is f:
        return f.name, row
    if f is LIBRARY["sigmoid"]:
        name, a, b, c, d = AS_FORMULA["sigmoid"]
        report.changed.append(f"{place}: sigmoid becomes {name}")
        return name, np.array([a * row[0], a * row[1] + b, c * row[2], d * row[2] + row[3]])
    report.differs.append(f"{place}: pykan has no function {f.name!r}; call kan.utils.add_symbolic before loading")
    return f.name, row


def _affine(own, l, report):
    """The four affine vectors; a bias goes into subnode_bias."""
    Q, n = own.shape[0], len(own.arity)
    size = lambda name: Q if name.startswith("sub") else n
    found = {name: np.full(size(name), float(name.endswith("scale"))) for name in sorted(AFFINE)}
    found |= own.affine
    if own.bias is not None:
        found["subnode_bias"] = found["subnode_bias"] + found["subnode_scale"] * own.bias
        report.changed.append(f"layer {l}: its bias is in subnode_bias")
    return found


def _yaml(value):
    """A value as JSON, which is YAML but for numbers as 1e-05, which YAML 1.1 wants as 1.0e-05."""
    if isinstance(value, float) and "." not in repr(value):
        return repr(value).replace("e", ".0e")
    return f"[{', '.join(map(_yaml, value))}]" if isinstance(value, list) else json.dumps(value, ensure_ascii=False)
