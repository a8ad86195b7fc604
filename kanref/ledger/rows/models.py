"""Models: what building, training, pruning and saving do to them, and to everything else."""

import os
import random
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np

from kanref import golden, sparsify
from kanref.edges import Symbolic
from kanref.functions import LIBRARY
from kanref.golden import conformance
from kanref.golden.adapters import kanref as adapter
from kanref.ledger.row import Row
from kanref.ledger.rows.symbolic import at, model, refuses
from kanref.model import Model
from kanref.network import KAN, Layer, kan
from kanref.nodes import AFFINE, Nodes
from kanref.weights import Scaled

T = np.linspace(-1, 1, 21)


def reloaded(made):
    """The model that a file of it gives."""
    with TemporaryDirectory() as folder:
        made.save(Path(folder) / "model.safetensors")
        return Model.load(Path(folder) / "model.safetensors")


# ------------------------------------------------------------------------------------------------------------------ B12


def equal_draws():
    net = kan([4, 4, 4], intervals=3)
    views = net.split(net.init(42))
    pairs = ((views[f"0.{name}"], views[f"1.{name}"]) for name in ("spline.W", "base.W"))
    return {"equal starting numbers of two layers": sum(int((a == b).sum()) for a, b in pairs)}


B12 = Row(
    number="B12",
    title="Layers of one shape start with numbers of their own",
    peers=("jaxkan",),
    right=lambda: {"equal starting numbers of two layers": 0},
    ours=equal_draws,
    derivation="""Starting values of different layers are independent draws from continuous distributions, of which two
        are equal with probability 0 (2^-53 or so in floating point). One generator that moves on gives that from one
        seed. jaxKAN starts every layer from the same seed, so that layers of one shape are copies.""",
    reproduce="""A network [4, 4, 4] of cubic splines on 3 intervals with a base function, seed 42: how many of the 96 +
        16 starting weights of layer 0 stand at the same place in layer 1.""",
)

# ------------------------------------------------------------------------------------------------------------------ B22


def pruned_inputs():
    made = model(((1,), {(0, 0): ("x", 1, 0, 0, 0), (0, 1): ("x", 1, 0, 1, 0)}))
    pruned = made.prune(np.stack([T, T**3], 1), keep_inputs=1, means=False)
    point, (expression,) = [0.25, 0.75], pruned.formula()
    return {
        "before saving": at(pruned, point)[0],
        "loads": not refuses(lambda: reloaded(pruned)),
        "after loading": at(reloaded(pruned), point)[0],
        "evaluates twice": bool(at(pruned, point) == at(pruned, point)),
        "column in the formula": int(str(*expression.free_symbols).removeprefix("x")),
    }


B22 = Row(
    number="B22",
    title="Models with pruned inputs evaluate, save and name their variables as before",
    peers=("pykan",),
    right=lambda: {
        "before saving": 3 / 4,
        "loads": True,
        "after loading": 3 / 4,
        "evaluates twice": True,
        "column in the formula": 2,
    },
    ours=pruned_inputs,
    derivation="""y = x2 is 3/4 at (1/4, 3/4), whatever becomes of the edge of x1, and the variable of its formula is
        the second column. To say so again, a file must hold which columns were kept. pykan writes the base function as
        an object that its own loader refuses; with the name put there by hand the file loads, but takes the first
        column: 1/4. get_act selects columns from data whose columns were selected already, and the formula counts the
        columns that were kept, from 1.""",
    reproduce="""y = 0 x1 + x2, its first input pruned: the output at (1/4, 3/4), the same after saving and loading
        (pykan: with the base function named by hand), a second pass over the data of the first, and the number in the
        formula's variable.""",
)

# ------------------------------------------------------------------------------------------------------------------ B23


def numpy_numbers():
    made = Model.build([1, np.int64(2), 1], intervals=np.int32(3), domain=np.array([-1.0, 1.0]))
    return {"loads": not refuses(lambda: reloaded(made))}


B23 = Row(
    number="B23",
    title="Models built with NumPy's integers can be loaded again",
    peers=("pykan",),
    right=lambda: {"loads": True},
    ours=numpy_numbers,
    derivation="""NumPy's integers are integers, and what is written as one can be read by anybody. pykan writes them as
        Python objects in YAML, which its own safe loader refuses; kanref.interop.pykan reads such files, without
        executing what they say.""",
    reproduce="A model of width [1, numpy.int64(2), 1] is saved and loaded.",
)

# ------------------------------------------------------------------------------------------------------------------ B24


def settings(net):
    """What a network was built with."""
    spline, base = (net.layers[0].terms[name] for name in ("spline", "base"))
    B = spline.basis
    return B.degree, B.intervals, B.outside, B.domain[0].tolist(), isinstance(spline.weights, Scaled), base.basis.name


def pruned_nodes():
    shape = {"intervals": 4, "degree": 2, "domain": (-2, 2), "outside": "linear", "base": "identity", "scaled": True}
    net = kan([1, 2, 1], **shape)
    arrays = {name: np.full(a.shape, float(name.endswith("base.W"))) for name, a in net.split(net.init()).items()}
    made = Model(net, net.join(arrays))
    pruned, before = made.prune(T[:, None], keep_nodes=[1], means=False), at(made, [0.5])[0]
    return {
        "original before": before,
        "original after": at(made, [0.5])[0],
        "pruned": at(pruned, [0.5])[0],
        "settings changed": sum(a != b for a, b in zip(settings(net), settings(pruned.net))),
    }


B24 = Row(
    number="B24",
    title="Pruning nodes leaves the original alone, and the result keeps its settings",
    peers=("pykan",),
    right=lambda: {"original before": 1, "original after": 1, "pruned": 1 / 2, "settings changed": 0},
    ours=pruned_nodes,
    derivation="""y = h1 + h2 with h1 = h2 = x is 1 at x = 1/2; the network without h2 gives 1/2. A function that
        returns a new model has no business in the old one. pykan masks the edges of the old one, too, and builds the
        new one with the defaults of grid_eps, grid_range, sp_trainable, sb_trainable, affine_trainable and
        symbolic_enabled.""",
    reproduce="""A network [1, 2, 1] whose edges are all x, built with settings that are no defaults (six in each
        library): one hidden node is pruned; outputs at x = 1/2, and how many settings differ.""",
)

# ------------------------------------------------------------------------------------------------------------------ B25


def fitted_scores_right():
    s = (77 / 200) ** 0.5  # of 21 even points of [-1, 1]
    total = 4 / 3 * s + 1e-4
    return {"scores of inputs": [s / total, s / 3 / total]}


def fitted_scores():
    X, other = np.stack([T, T / 3], 1), np.stack([T / 3, T], 1)
    made = model(((1,), {(0, p): ("x", 1, 0, 1, 0) for p in range(2)}))
    data = {"validation": (other, other.sum(1)), "progress": False}
    made = made.fit(X, X.sum(1), optimizer="adam", steps=1, **data)
    return {"scores of inputs": made.attribute(X).nodes[0]}


B25 = Row(
    number="B25",
    title="What follows training looks at the data of training",
    peers=("pykan",),
    right=fitted_scores_right,
    ours=fitted_scores,
    derivation="""The score of input p is std(phi_p)/(std(sum) + 1e-4): y = x1 + x2 with x2 = x1/3 in training gives
        s/(4 s/3 + 1e-4) and a third of it, 3/4 and 1/4 but for the 1e-4. kanref's steps take their data as arguments.
        pykan's take what went through the model last, which after fit is the test data, where x1 = x2/3: 1/4 and 3/4.
        So do its refine, prune and suggest_symbolic.""",
    reproduce="""y = x1 + x2, fitted by one step of Adam (which changes nothing) on x1 = t, x2 = t/3 with test data x1 =
        t/3, x2 = t, t = -1, -0.9, ..., 1; then the scores of the inputs.""",
)

# ------------------------------------------------------------------------------------------------------------------ B26


def streams():
    """The states of the global generators of Python and NumPy."""
    _, key, place, *_ = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (key.tolist(), place)


def changed(action):
    """What it gives, and how many global generators it moved."""
    before = streams()
    made = action()
    return made, sum(a != b for a, b in zip(before, streams()))


def generators():
    made, built = changed(lambda: Model.build([1, 1]))
    _, stepped = changed(lambda: made.fit(T[:, None], T**2, steps=1, progress=False))
    return {"changed by a constructor": built, "by a step": stepped}


B26 = Row(
    number="B26",
    title="Global random generators are left alone",
    peers=("pykan",),
    right=lambda: {"changed by a constructor": 0, "by a step": 0},
    ours=generators,
    derivation="""Whoever seeds a global generator repeats, or hides, the random choices of the program around it: noise
        that is drawn between two steps is the same each time. kanref draws from generators of its own. pykan's
        constructor seeds those of torch, NumPy and Python, its L-BFGS seeds torch's with 0 at every step, and fit draws
        samples from NumPy's.""",
    reproduce="How many of the global generators are in another state after a model was built, and after one step of L-BFGS.",
)

# ------------------------------------------------------------------------------------------------------------------ B27


def side_effects():
    with TemporaryDirectory() as folder, chdir(folder):
        made = Model.build([1, 1])
        written = sum(len(files) for _, _, files in os.walk(folder))
    derived = [np.isfinite(objective(made.theta)[1]).all() for objective in objectives(made)]
    identity = Layer({"symbolic": Symbolic((1, 1), ((0, 0, LIBRARY["x"]),))}, nodes=Nodes((1,), AFFINE))
    deep = KAN((*made.net.layers, identity))
    arrays = {**made.net.split(made.theta), "1.symbolic.affine": np.array([[1, 0, 1, 0]])}
    arrays |= {f"1.{name}": np.array([m + 2.0]) for m, name in enumerate(AFFINE)}
    kept = reloaded(Model(deep, deep.join(arrays)))
    views = kept.net.split(kept.theta)
    return {
        "derivative of the penalty": bool(derived[0]),
        "of loss and penalty": bool(derived[1]),
        "affine arrays kept of a new layer": sum(
            float(views[f"1.{name}"][0]) == m + 2 for m, name in enumerate(AFFINE)
        ),
        "files written by a constructor": written,
    }


def objectives(made):
    """The penalty alone, and the loss with it."""
    X = T[:, None]
    return sparsify.penalty(made.net, X), made.objective(X, T, 1.0)


B27 = Row(
    number="B27",
    title="Derivatives of the penalty exist, files hold all parameters, and building a model writes none",
    peers=("pykan",),
    right=lambda: {
        "derivative of the penalty": True,
        "of loss and penalty": True,
        "affine arrays kept of a new layer": 4,
        "files written by a constructor": 0,
    },
    ours=side_effects,
    derivation="""A penalty that training descends has a derivative, a file of a model holds all that the model computes
        with, and building a model is no request for files. pykan's get_derivative calls the penalty without two of its
        arguments, for loss_mode "reg" and "all"; the affine parameters of a layer from expand_depth are in no state
        dict; the constructor writes a history and three files of a checkpoint to ./model, unless auto_save=False.""",
    reproduce="""A network [1, 1]: files in an empty working directory after it was built, derivatives with respect to
        the parameters, and how many of the four affine arrays of an identity layer behind it are saved.""",
)

# ------------------------------------------------------------------------------------------------------------------ B29


def columns():
    made = model(((1,), {(0, 0): ("x", 1, 0, 1, 0)}))
    return {"at 1/2": at(made, [0.5])[0], "refuses (1/2, 7)": refuses(lambda: at(made, [0.5, 7]))}


B29 = Row(
    number="B29",
    title="Extra columns of the input are an error",
    peers=("pykan",),
    right=lambda: {"at 1/2": 1 / 2, "refuses (1/2, 7)": True},
    ours=columns,
    derivation="""A function of one variable has no value at a pair. What columns were meant nobody can know: pykan
        takes the first and drops the others.""",
    reproduce="y = x, a model of one input, is evaluated at 1/2 and at (1/2, 7).",
)

# ------------------------------------------------------------------------------------------------------------------ B32


def univariate():
    net = kan([2, 1], intervals=5, base=None)
    (term,) = net.layers[0].terms.values()
    W = np.zeros((1, 2, term.basis.size))
    W[0, 0] = 1 / (1 + np.arange(term.basis.size))
    y = net(W.ravel(), np.array([[0.5, 0.0], [0.5, 1.0]]))[:, 0]
    B = term.basis.dense(np.array([[0.25, 0.25]]))
    return {"change of phi(x1) with x2": y[1] - y[0], "sum of the basis at 1/4": B[0, 0].sum()}


B32 = Row(
    number="B32",
    title="Edges are functions of one variable, and their basis sums to one",
    peers=("fast_kan", "faster-kan"),
    right=lambda: {"change of phi(x1) with x2": 0, "sum of the basis at 1/4": 1},
    ours=univariate,
    derivation="""In a KAN an edge is a function of its own input; B-splines sum to one on the domain. fast-kan is
        another model: its layer norm sees all inputs before the functions do ((1/2, 0) becomes (1, -1), and (1/2, 1)
        becomes (-1, 1)), and Gaussians whose width is their distance sum to about sqrt(pi) = 1.77. The norm of a single
        layer can be left out (use_layernorm=False), in its FastKAN it cannot. kanref has these functions as
        `kanref.gaussians`, a basis beside others, with no norm before them.""",
    reproduce="""A layer of two inputs in which all weights of x2 are 0, and those of x1 are 1, 1/2, 1/3, ...: the
        output at (1/2, 1) minus that at (1/2, 0), and the sum of the basis functions at 1/4.""",
)

# ------------------------------------------------------------------------------------------------------------------ B33


def golden_cases():
    wrong = SimpleNamespace(bspline=lambda **arguments: 1.000001 * np.asarray(adapter.bspline(**arguments)))
    cases = [case for case in golden.load("bspline") if case.answers()["result"].any()]
    caught = [conformance.examine(wrong, case).status == "failed" for case in cases]
    return {"a wrong answer fails": all(caught), "tests": sum(len(golden.load(group)) for group in golden.groups())}


def shadowed():
    """Tests of one name for two layers, of which the first is wrong: a module keeps the later test only."""
    spline, base = np.zeros((10, 4)), np.zeros((10, 5))
    named = [("test_varied_configs", lambda y=y: y.shape == (10, 5)) for y in (spline, base)]
    return {"a wrong answer fails": not all(test() for test in dict(named).values())}


def shape_only():
    """A test that fills nothing in, and looks at the shape of what comes out."""
    return {"a wrong answer fails": np.empty((5, 8)).shape != (5, 8)}


B33 = Row(
    number="B33",
    title="Tests that can fail",
    peers=("pykan", "jaxkan", "kanlib"),
    right=lambda: {"a wrong answer fails": True},
    ours=golden_cases,
    derivation="""A test says something only if a wrong implementation fails it. pykan's repository has no tests, and what
        is installed of it has none. In jaxKAN's tests/layers/test_spline_layer.py, test_spline_layer_varied_configs of
        SplineLayer has the name of a later one of BaseLayer, which takes its place: it never runs. KANLib's tests of
        coefficient transfer start from memory that nobody filled, and look at shapes.""",
    reproduce="""kanref: B-splines a millionth too large are put to all golden cases of B-splines that are not 0, which
        must all catch them. pykan: functions in files named as tests in what is installed (tests that it has in its
        repository alone would not show). jaxKAN, KANLib, in small: a first layer of the wrong shape is put to two tests
        of one name, and numbers that nobody computed to a test of their shape.""",
    wrong={"jaxkan": shadowed, "kanlib": shape_only},
)

ROWS = (B12, B22, B23, B24, B25, B26, B27, B29, B32, B33)
