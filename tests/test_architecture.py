"""The shape of the house, read from its imports: floors, leaves, what is never used, and what stands at the top.

    4   model plot sklearn interop golden ledger compare check papers cli io bench job solve ...    the doors
    3   grids objectives sparsify symbolic lotra slim multilevel pde initialise data
    2   network mlp                                                       the waist
    1   bases functions weights terms edges nodes narrow power_relu free_knots
    0   spec tensors jets arrays tables words optimize kernels bench_peers    nothing of kanref

A module imports from lower floors; beside its own floor only as `BESIDE` says.
"""

import ast
import inspect
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import kanref

ROOT = Path(kanref.__file__).parents[1]
FILES = sorted((ROOT / "kanref").rglob("*.py"))
LEVELS = (
    "spec tensors jets arrays intervals tables words optimize kernels bench_peers",
    "bases functions weights terms edges nodes narrow power_relu free_knots gaussians",
    "network mlp",
    "grids objectives sparsify symbolic lotra slim multilevel pde initialise data",
    "model conventions plot sklearn interop golden ledger compare check papers cli io bench job discover solve adapt adapters"
    " bounds",
)
FLOOR = {module: floor for floor, modules in enumerate(LEVELS) for module in modules.split()}
BESIDE = {1, 2, 3, 4}  # floors whose modules may import each other
LAZY = {("network", "initialise")}  # upwards, inside a function: `net.init` is a method for convenience
FOR_WHOM = {  # modules that few may import
    "spec": {"check", "golden"},
    "optimize": {module for module, floor in FLOOR.items() if floor >= 3},
    "bench_peers": set(),
}
PEERS = {"kan", "torch", "jax", "flax", "optax", "jaxkan", "efficient_kan", "fastkan"}
ALSO = {  # beside the standard library and NumPy, anywhere in the file
    "kernels": {"numba"},
    "optimize": {"scipy", "threadpoolctl"},
    "grids": {"scipy"},
    "objectives": {"scipy"},
    "functions": {"scipy", "sympy"},
    "symbolic": {"scipy", "sympy"},
    "data": {"scipy", "snappy", "sklearn"},
    "pde": {"scipy"},
    "bench_peers": PEERS,
    "golden": PEERS | {"scipy", "mpmath", "tensorly", "pytest", "safetensors"},
    "ledger": PEERS | {"scipy", "ChebyKANLayer", "FlashKAN", "MatrixKANLayer"},
}
DOORS = {"scipy", "numba", "sympy", "matplotlib", "safetensors", "sklearn", "tqdm"}  # what floor 4 may use
EARLY = {"numpy", "scipy", "numba"}  # what may be imported outside functions; the rest costs seconds
EARLY_IN = {"plot": {"matplotlib"}, "sklearn": {"sklearn"}, "golden": PEERS | {"mpmath", "pytest"}}
EARLY_IN["ledger"] = ALSO["ledger"] - {"scipy"}
WATCHING = {"ledger/rows/models.py", "ledger/probes/pykan.py"}  # B26 looks whether others change global generators
GENERATORS = {"default_rng", "Generator", "SeedSequence", "PCG64", "BitGenerator"}


class Import(NamedTuple):
    name: str  # dotted
    early: bool  # outside every function


def unit(path):
    """The module or package of kanref that a file belongs to: "grids" for kanref/grids/rules.py."""
    return path.relative_to(ROOT / "kanref").parts[0].removesuffix(".py")


@cache
def tree(path):
    return ast.parse(path.read_text("utf-8"))


def is_ours(dotted):
    base = ROOT.joinpath(*dotted.split("."))
    return base.with_suffix(".py").exists() or base.is_dir()


@cache
def imports(path):
    """Every import of a file, relative ones resolved; `from package import module` names the module."""
    package = path.relative_to(ROOT).parent.parts
    found = []

    def visit(node, early):
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, early) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            source = ".".join((*package[: len(package) - node.level + 1], node.module or "")).strip(".")
            source = source if node.level else node.module
            for alias in node.names:
                deeper = f"{source}.{alias.name}"
                found.append(Import(deeper if source.startswith("kanref") and is_ours(deeper) else source, early))
        for child in ast.iter_child_nodes(node):
            visit(child, early and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    visit(tree(path), True)
    return tuple(found)


def own(path):
    """Units of kanref that a file imports, as (unit, early)."""
    parts = [(i.name.split("."), i.early) for i in imports(path)]
    return {(name[1], early) for name, early in parts if name[0] == "kanref" and len(name) > 1}


every_file = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))


# --------------------------------------------------------------------------------------------------------------- floors


def test_every_module_has_a_floor():
    assert {unit(path) for path in FILES} - {"__init__"} <= set(FLOOR)


@every_file
def test_imports_go_down(path):
    me = unit(path)
    if me == "__init__":
        assert not own(path)
        return
    for other, early in own(path) - {(me, True), (me, False)}:
        down = FLOOR[other] < FLOOR[me] or (FLOOR[other] == FLOOR[me] and FLOOR[me] in BESIDE)
        assert down or ((me, other) in LAZY and not early), f"{me} imports {other}"
        assert me in FOR_WHOM.get(other, {me}), f"{me} imports {other}"


def test_no_circles():
    """Files, by what they import outside functions, can be put in an order."""
    by_name = {}
    for path in FILES:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        by_name[name.removesuffix(".__init__")] = path
    needs = {
        name: {i.name for i in imports(path) if i.early and i.name in by_name} - {name, "kanref"}
        for name, path in by_name.items()
    }
    while needs:
        free = {name for name, others in needs.items() if not others & set(needs)}
        assert free, f"these import each other: {sorted(needs)}"
        needs = {name: others for name, others in needs.items() if name not in free}


@pytest.mark.parametrize("path", [p for p in FILES if unit(p) == "kernels"], ids=lambda p: p.name)
def test_kernel_files_stand_alone(path):
    """Numba's cache of a file does not notice edits in another one."""
    assert {i.name.split(".")[0] for i in imports(path)} <= {"numpy", "numba", "os"}


@every_file
def test_other_libraries_stay_where_they_are_used(path):
    me = unit(path)
    allowed = {"numpy", "kanref"} | ALSO.get(me, DOORS if FLOOR.get(me) == 4 else set())
    for name, early in imports(path):
        library = name.split(".")[0]
        if library in sys.stdlib_module_names:
            continue
        assert library in allowed, f"{me} imports {library}"
        assert not early or library in EARLY | {"kanref"} | EARLY_IN.get(me, set()), f"{me} imports {library} at once"


# --------------------------------------------------------------------------------------------------- what is never used


def dotted(node):
    """a.b.c of an attribute chain, "" if it starts elsewhere."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(names)]) if isinstance(node, ast.Name) else ""


@every_file
def test_nothing_is_unpickled_or_evaluated(path):
    libraries = {i.name.split(".")[0] for i in imports(path)}
    assert not libraries & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Name):
            assert node.id not in {"eval", "exec", "compile", "__import__"}, f"line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False, f"line {node.value.lineno}"


@every_file
def test_no_global_random_numbers(path):
    if path.relative_to(ROOT / "kanref").as_posix() in WATCHING:
        return
    names = {i.name for i in imports(path)}
    assert not names & {"random", "numpy.random"}
    for node in ast.walk(tree(path)):
        name = dotted(node).split(".")
        if name[:2] in (["np", "random"], ["numpy", "random"]) and len(name) > 2:
            assert name[2] in GENERATORS, f"line {node.lineno}: {'.'.join(name)}"
        if isinstance(node, ast.ImportFrom) and node.module == "numpy":
            assert "random" not in {alias.name for alias in node.names}, f"line {node.lineno}"


@pytest.mark.parametrize(
    "path", [p for p in FILES if unit(p) not in {"cli", "bench", "bench_peers"}], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_library_does_not_print(path):
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and dotted(node.func) == "print"]
    assert not [node.lineno for node in calls]


# ----------------------------------------------------------------------------------------------------------- the import


def loaded_by(statement):
    """Top-level names in sys.modules of a fresh process."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}; print(*{{m.split('.')[0] for m in sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light():
    heavy = {"numba", "llvmlite", "scipy", "matplotlib", "sympy", "sklearn", "safetensors", "tqdm"}
    assert not loaded_by("import kanref; dir(kanref)") & heavy


def test_the_ground_floor_needs_no_compiler():
    modules = [m for m, floor in FLOOR.items() if floor == 0 and m != "kernels"]
    loaded = loaded_by("; ".join(f"import kanref.{m}" for m in modules))
    assert not loaded & ({"numba", "matplotlib", "sympy"} | PEERS)


@pytest.mark.parametrize("name", kanref.__all__)
def test_public_names_are_there_and_explained(name):
    assert name in dir(kanref)
    thing = getattr(kanref, name)
    if callable(thing):
        assert inspect.getdoc(thing)


def test_a_name_that_is_not_public():
    with pytest.raises(AttributeError, match="kanref has no public name 'fit'; see kanref.__all__"):
        kanref.fit  # noqa: B018


# -------------------------------------------------------------------------------------------------------- the top level


def test_the_top_level_is_fixed():
    if not (shutil.which("git") and (ROOT / ".git").exists()):
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    top = {Path(name).parts[0] for name in listed if name}
    fixed = {"kanref", "tests", "tutorials", "README.md", "pyproject.toml", "LICENSE"}
    assert {name for name in top if not name.startswith(".")} <= fixed
