"""Golden vectors: the files are what they say, follow their schema, are made again bit for bit, and their routes can fail."""

import json
import re
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from safetensors import safe_open

from kanref import golden, spec
from kanref.golden import __main__ as program
from kanref.golden import case as record
from kanref.golden import optimisers
from kanref.golden.exact import Disagreement, Draw, complex_step, confirm, converted, digits, floats, rationals, solved
from kanref.golden.generate import GENERATORS, cases, write
from kanref.golden.protocol import OPERATIONS, objective, table
from kanref.grids.rules import RULES
from kanref.sparsify import METRICS
from kanref.sparsify.attribution import METHODS, SCORES

GROUPS = golden.groups()
SAMPLES = {"bspline": 40, "gradients": 2, "lotra": 1, "hessian-vector": 5, "pinn": 1, "extension": 3, "insertion": 9}
SAMPLES |= {"refinement": 6, "magnitudes": 3, "penalties": 1, "lbfgs": 5, "inputs": 4}  # cases of slow groups
QUICK = [group for group in GENERATORS if group not in SAMPLES]
ALL = [case for group in GROUPS for case in golden.load(group)]

every_group = pytest.mark.parametrize("group", GROUPS)


def content(group):
    return json.loads((golden.FOLDER / f"{group}.json").read_text("utf-8"))


def arrays(part):
    """Every array in JSON."""
    if isinstance(part, dict):
        if "shape" in part:
            yield part
        else:
            yield from (a for value in part.values() for a in arrays(value))
    if isinstance(part, list):
        yield from (a for value in part for a in arrays(value))


# ------------------------------------------------------------------------------------------------------------ extent


def test_there_are_enough():
    assert set(GROUPS) == set(GENERATORS) and len(GROUPS) >= 15
    assert len(ALL) >= 300
    assert len({case.id for case in ALL}) == len(ALL)
    assert {case.operation for case in ALL} == set(OPERATIONS)


def test_they_are_small_enough_for_a_wheel():
    """Before compression, which leaves a fifth."""
    size = lambda suffix: sum(path.stat().st_size for path in golden.FOLDER.glob(f"*.{suffix}"))
    assert size("json") < 1_600_000 and size("safetensors") < 1_000_000


def test_splines_are_covered():
    found = {(c.inputs["degree"], c.inputs["order"], c.inputs["outside"]) for c in golden.load("bspline")}
    assert {(d, m, "zero") for d in range(8) for m in range(4)} <= found
    assert {(3, m, outside) for m in range(4) for outside in ("linear", "clamp")} <= found


def test_every_convention_is_covered():
    """Rules of grids, also with their refits; metrics, scores and methods; by the names that kanref gives them."""
    asked = lambda group, key: {case.inputs[key] for case in golden.load(group)}
    assert asked("grids", "rule") == asked("updates", "rule") == set(RULES)
    assert asked("magnitudes", "metric") == {*METRICS, *SCORES} - {"pykan-0.2.8"}  # its name for edge_forward_spline_n
    assert asked("penalties", "metric") == set(METRICS) - {"pykan-0.2.8"}
    assert asked("attribution", "method") == set(METHODS)


def test_every_case_has_two_routes():
    assert all(len(set(case.routes)) >= 2 for case in ALL)


def test_an_unknown_group_is_refused():
    with pytest.raises(ValueError, match="group must be one of adam, .* but it is 'spline'"):
        golden.load("spline")


# ------------------------------------------------------------------------------------------------------------- format


def violations(part, schema, root, path="$"):
    """What a part breaks of the JSON schema keywords that the schema uses."""
    if "$ref" in schema:
        yield from violations(part, root["$defs"][schema["$ref"].split("/")[-1]], root, path)
        return
    if "anyOf" in schema and all(list(violations(part, option, root, path)) for option in schema["anyOf"]):
        yield f"{path}: none of the kinds"
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "null": type(None)}
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if wanted and not any(isinstance(part, kinds[kind]) and not isinstance(part, bool) for kind in wanted):
        yield f"{path}: {wanted}"
        return
    if "const" in schema and part != schema["const"]:
        yield f"{path}: {part} is not {schema['const']}"
    if isinstance(part, str) and "pattern" in schema and not re.search(schema["pattern"], part):
        yield f"{path}: {part}"
    if isinstance(part, int | float) and (
        part < schema.get("minimum", part) or part <= schema.get("exclusiveMinimum", part - 1)
    ):
        yield f"{path}: {part}"
    if isinstance(part, list):
        if len(part) < schema.get("minItems", 0):
            yield f"{path}: too short"
        for i, value in enumerate(part):
            yield from violations(value, schema.get("items", {}), root, f"{path}[{i}]")
    if isinstance(part, dict):
        yield from (f"{path}: lacks {key}" for key in schema.get("required", ()) if key not in part)
        for key, value in part.items():
            other = schema.get("additionalProperties", {})
            if key not in schema.get("properties", {}) and other is False:
                yield f"{path}: {key}"
            elif other or key in schema.get("properties", {}):
                yield from violations(value, schema.get("properties", {}).get(key, other or {}), root, f"{path}.{key}")


@every_group
def test_files_follow_the_schema(group):
    schema = content("schema")
    assert not list(violations(content(group), schema, schema))


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.update(version=2),
        lambda f: f.update(more=1),
        lambda f: f["cases"][0].pop("routes"),
        lambda f: f["cases"][0].update(routes=["one"]),
        lambda f: f["cases"][0]["ulps"].update(float64=0),
        lambda f: f["cases"][0]["expected"]["result"].update(hex=["1.5"]),
        lambda f: f["cases"][0]["expected"]["result"].pop("shape"),
        lambda f: f["cases"][0]["inputs"].update(degree=True),
    ],
)
def test_the_schema_can_be_broken(change):
    schema, broken = content("schema"), content("bspline")
    change(broken)
    assert list(violations(broken, schema, schema))


@every_group
def test_decimals_hexadecimals_and_fractions_are_the_same_numbers(group):
    for a in arrays(content(group)):
        size = int(np.prod(a["shape"], dtype=int))
        assert len(a["values"]) == size
        if "hex" in a:
            assert [float.fromhex(text) for text in a["hex"]] == [float(value) for value in a["values"]]
        if "exact" in a:
            assert [float(Fraction(text)) for text in a["exact"]] == a["values"]


@every_group
def test_inputs_are_exact_in_float32(group):
    for case in content(group)["cases"]:
        for a in arrays(case["inputs"]):
            assert "hex" not in a
            assert np.array_equal(np.float32(a["values"]), a["values"]), case["id"]


def test_a_newer_version_is_refused():
    text = (golden.FOLDER / "base.json").read_text("utf-8").replace('"version":1', '"version":2')
    with pytest.raises(
        ValueError, match="must have format kanref-golden and version 1, but it has .*2.*; update kanref"
    ):
        record.parsed(text)


def test_arguments_are_new_every_time_and_in_the_precision():
    case = golden.load("bspline")[0]
    first, second = case.arguments("float32"), case.arguments()
    first["x"][:] = 7
    assert first["x"].dtype == np.float32 and second["x"].dtype == np.float64
    assert case.arguments()["x"][0] != 7 and case.answers()["result"].shape == (8, 3)


def test_numbers_are_written_without_loss():
    values = np.array([Fraction(1, 3), Fraction(-5, 2), Fraction(0), Fraction(2) ** -1074])
    a = json.loads(record._text(record.encoded_array(values)))
    assert a["values"] == [float(v) for v in values] == [float.fromhex(text) for text in a["hex"]]
    assert "hex" not in record.encoded_array(np.array([Fraction(3, 8)]))
    with pytest.raises(ValueError, match="1/3 is no float64; draw dyadic inputs"):
        record.encoded(Fraction(1, 3))


# ------------------------------------------------------------------------------------------------------- regeneration


def tensors(group):
    """Metadata and arrays of a group's safetensors file."""
    with safe_open(golden.FOLDER / f"{group}.safetensors", framework="numpy") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, no mapping


@every_group
def test_tensor_files_hold_the_same_arrays(group):
    """Bit for bit, and only them; their names say where they stand in the JSON file."""
    metadata, found = tensors(group)
    assert json.loads(metadata.pop("kanref-golden")) == {"version": golden.VERSION, "group": group} and not metadata
    expected = {}

    def walk(part, place):
        if isinstance(part, dict) and "shape" in part:
            expected[place] = np.array(part["values"], np.float64).reshape(part["shape"])
        elif isinstance(part, dict | list):
            for key, value in part.items() if isinstance(part, dict) else enumerate(part):
                walk(value, f"{place}/{key}")

    for case in content(group)["cases"]:
        walk({"inputs": case["inputs"], "expected": case["expected"]}, case["id"])
    assert set(found) == set(expected)
    for name, a in expected.items():
        assert found[name].dtype == np.float64 and found[name].shape == a.shape
        assert found[name].tobytes() == a.tobytes()


def test_tensor_files_are_read_by_what_the_text_says():
    """Eight bytes, JSON, numbers: nothing but what every language has."""
    data = (golden.FOLDER / "layers.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, numbers = json.loads(data[8 : 8 + length]), data[8 + length :]
    assert json.loads(header.pop("__metadata__")["kanref-golden"])["group"] == "layers"
    ends = [0]
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, end = entry["data_offsets"]
        count = int(np.prod(entry["shape"], dtype=int))
        assert entry["dtype"] == "F64" and first == ends[-1] and end - first == 8 * count
        case = next(case for case in golden.load("layers") if name.startswith(f"{case.id}/"))
        part = {"inputs": case.arguments(), "expected": case.answers()}
        for key in name.removeprefix(f"{case.id}/").split("/"):
            part = part[int(key) if isinstance(part, list) else key]
        assert struct.unpack(f"<{count}d", numbers[first:end]) == tuple(part.ravel()) and list(part.shape) == entry["shape"]
        ends.append(end)
    assert ends[-1] == len(numbers)


@every_group
def test_tensor_files_are_made_again_bit_for_bit(group):
    assert record.packed(group, golden.load(group)) == (golden.FOLDER / f"{group}.safetensors").read_bytes()


@pytest.mark.parametrize("name, description, start", list(optimisers.objectives()))
def test_objectives_have_their_gradients(name, description, start):
    """Both routes to a trajectory ask for the same objective."""
    f, theta = objective(converted(description, digits)), converted(start, digits)
    confirm(name, f(theta)[1], complex_step(lambda t: f(t)[0], theta), 1e-40)
    assert f(theta)[1].all()


def lines(group):
    return (golden.FOLDER / f"{group}.json").read_text("utf-8").split("\n")


@pytest.mark.parametrize("group", QUICK)
def test_groups_are_made_again_bit_for_bit(group):
    assert record.dumped(group, cases(group)) == "\n".join(lines(group))


@pytest.mark.parametrize("group", SAMPLES)
def test_slow_groups_begin_bit_for_bit(group):
    """All of them: python -m kanref.golden leaves the files as they are."""
    made = record.dumped(group, cases(group, SAMPLES[group])).split("\n")[1:-2]
    assert [line.rstrip(",") for line in made] == [line.rstrip(",") for line in lines(group)[1 : 1 + SAMPLES[group]]]


def test_groups_are_written_where_one_likes(tmp_path):
    written = list(write(["free-knots"], tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["free-knots.json", "free-knots.safetensors"]
    assert written == [("free-knots", 4, sum(path.stat().st_size for path in tmp_path.iterdir()))]
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (golden.FOLDER / path.name).read_bytes()


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "free-knots.json").write_text("old")
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        list(write(["free-knots"], tmp_path))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_the_program_says_what_it_wrote(monkeypatch, capsys):
    monkeypatch.setattr("kanref.golden.generate.write", lambda groups: [(group, 3, 1000) for group in groups])
    program.main(["base", "adam"])
    assert (
        capsys.readouterr().out
        == "base                  3 cases      1000 bytes\nadam                  3 cases      1000 bytes\n"
    )


@pytest.mark.parametrize("module", ["mpmath", "tensorly"])
def test_the_program_says_what_to_install(module):
    """Without the extra `test`: one line, before any group is written."""
    code = f"import sys; sys.modules[{module!r}] = None; from kanref.golden.__main__ import main; main(['base', 'tucker'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == f"the second routes need {module}, which is not installed: pip install 'kanref[test]'\n"


def test_the_program_hides_no_other_missing_module(monkeypatch):
    monkeypatch.setattr(program, "write", lambda groups: __import__("no_such_module"))
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        program.main([])


def test_the_program_refuses_unknown_groups():
    with pytest.raises(SystemExit, match="groups are bspline, .*, lbfgs, but got splines"):
        program.main(["splines"])


# --------------------------------------------------------------------------------------------------------- the tools


def test_routes_that_part_are_noticed():
    reference = np.array([Fraction(1, 3), Fraction(0)], object)
    confirm("equal", reference, reference, 0)
    confirm("near", reference, np.array([1 / 3, 1e-14]))
    with pytest.raises(Disagreement, match="off: two routes differ by 1.0e-09"):
        confirm("off", reference, np.array([1 / 3, 1e-9]))
    with pytest.raises(Disagreement, match="shapes"):
        confirm("shape", reference, np.zeros(3))


@pytest.mark.parametrize(
    "name, wrong, group",
    [
        ("last_span", lambda knots, first, last: -1, "bspline"),
        ("ratio", lambda a, b: a / b if b != 0 else 1 + 0 * a, "bspline"),
        ("times", lambda a, b: [x * y for x, y in zip(a, b)], "base"),
        ("nodes", lambda u, arity, *maps: u[: len(arity)], "nodes"),
        ("masked", lambda W, mask: W, "layers"),
        ("compose", lambda derivatives, z: [derivatives[0], *z[1:]], "jets"),
        ("lotra", lambda base, scale, W: base + W, "layers"),
        ("adam_step", lambda theta, g, m, v, t, rate, *rest: (theta - rate * g, m, v), "adam"),
        ("lbfgs_direction", lambda g, S, Y: -g, "lbfgs"),
    ],
)
def test_a_wrong_definition_makes_no_vectors(monkeypatch, name, wrong, group):
    """The second route notices."""
    monkeypatch.setattr(spec, name, wrong)
    with pytest.raises((Disagreement, ValueError)):
        list(cases(group, 40))


def test_drawn_numbers_never_change():
    assert [str(v) for v in Draw("a", 1)(3, bits=4)] == ["3/16", "15/16", "15/16"]
    assert all(-2 <= v < 3 for v in Draw("b")(200, low=-2, high=3))


def test_complex_steps_have_all_digits():
    x = converted(np.array([Fraction(1, 3), Fraction(5, 7)], object), digits)
    slope = complex_step(lambda v: v[0] ** 3 * v[1], x)
    confirm("slope", slope, np.array([Fraction(5, 21), Fraction(1, 27)], object), Fraction(1, 10**45))


def test_systems_are_solved_exactly():
    A = [[0, 2, 1], [1, 1, 0], [3, 0, 1]]
    X = np.array([[Fraction(1, 3), 2], [5, Fraction(-1, 7)], [0, 1]], object)
    assert (solved(A, np.array(A, object) @ X) == X).all()


def test_numbers_are_rounded_once_and_dust_is_zero():
    third = converted(np.array([Fraction(1, 3)], object), digits)
    assert floats(third)[0] == 1 / 3
    assert rationals(np.array([1.0, 1e-30]))[1] == 0 and rationals(np.array([1e-30]))[0] == Fraction(1e-30)


def test_the_protocol_is_one_table():
    text = table()
    assert all(re.search(rf"^{name}\s", text, re.M) for name in OPERATIONS)
