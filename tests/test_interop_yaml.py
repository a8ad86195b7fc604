"""The subset of YAML: what PyYAML writes is read as it reads it; tags are inert; hostile texts cost nothing."""

import time
from pathlib import Path

import numpy as np
import pytest

from kanref.interop.yaml_subset import MAX_CHARACTERS, Tagged, parse

DATA = Path(__file__).parent / "data" / "interop"


VALUES = [
    ("", None),
    ("# only a remark", None),
    ("a: 'x\n\n  # y\n\n\n  z'\nb: \"x\\\n  \\ y\n  z\"", {"a": "x\n# y\n\nz", "b": "x y z"}),
    ("---\na: 1\n...", {"a": 1}),
    ("%YAML 1.1\n---\na: 1", {"a": 1}),
    ("word", "word"),
    ("- 1\n- 2", [1, 2]),
    ("- - 1\n  - 2\n- - - 3", [[1, 2], [[3]]]),
    ("a:\n- 1\n- 2\nb: 3", {"a": [1, 2], "b": 3}),
    ("a:\n  - 1\n  -\n  - x: 1\n    y: 2", {"a": [1, None, {"x": 1, "y": 2}]}),
    ("a:\n  b:\n    c: d # remark\n\n  e: f#g", {"a": {"b": {"c": "d"}, "e": "f#g"}}),
    ("a: x y\n  z\nb: 'x\n  y'", {"a": "x y z", "b": "x y"}),
    ("a: [1, [2, 3], {b: c, 'd': \"e\"}]\nf: []\ng: {}", {"a": [1, [2, 3], {"b": "c", "d": "e"}], "f": [], "g": {}}),
    ("a: [1,\n   2]\nb: 3", {"a": [1, 2], "b": 3}),
    ("'a b': 1\n\"c\": 2\na.0:b: 3", {"a b": 1, "c": 2, "a.0:b": 3}),
    ("a: |\n  x\n   y\nb: |-\n  z", {"a": "x\n y\n", "b": "z"}),
    ("a: >-\n  x\n  y", {"a": "x y"}),
    ("a: &x [1]\nb: *x\nc: &y\n  d: *x\ne: *y", {"a": [1], "b": [1], "c": {"d": [1]}, "e": {"d": [1]}}),
    ("a: !!str 1\nb: !!int '2'\nc: !!float '1.5'\ne: !!binary AQI=", {"a": "1", "b": 2, "c": 1.5, "e": b"\x01\x02"}),
    ("[true, Yes, off, null, ~, '', -3, 0]", [True, True, False, None, None, "", -3, 0]),
    ("[1e5, 1.0e-5, .5, -.inf, 1.e+3]", ["1e5", 1e-5, 0.5, -np.inf, 1000.0]),
    ('"\\x41\\u00fc\\n\\t\\"\\\\"', 'A\u00fc\n\t"\\'),
    ("'it''s'", "it's"),
    ("a\n b\n c", "a b c"),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_values(text, value):
    assert parse(text) == value


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_pyyaml_agrees(text, value):
    assert pytest.importorskip("yaml").safe_load(text) == value


def test_tuples_are_lists():
    assert parse("a: !!python/tuple\n- 1\n- 007\n- 1_0") == {"a": [1, "007", "1_0"]}


def test_tags_are_inert():
    found = parse("a: !!python/object/apply:os.system ['touch executed']\nb: !!python/name:os.system ''\nc: !own {x: 1}")
    assert all(isinstance(value, Tagged) for value in found.values())
    assert [value.tag for value in found.values()] == ["python/object/apply:os.system", "python/name:os.system", "!own"]
    assert [value.value for value in found.values()] == [["touch executed"], "", {"x": 1}]


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\n b: 2",
        "a: 1\nb",
        "a: 1\na: 2",
        "- 1\nb: 2",
        "a: *b",
        "a: [1, 2",
        "a: [1,\n   2, # two",
        "a: [1, # one\n   2]",
        "a: [1 2]]",
        "a: [1, }",
        "a: {b}",
        "a: 'b",
        "a: 'b' c",
        'a: "\\q"',
        "? a\n: b",
        "a: @b",
        "a: !!binary ***",
        "a: &x [*x]",
        "x" * (MAX_CHARACTERS + 1),
    ],
)
def test_what_is_not_understood_is_refused(text):
    with pytest.raises(ValueError, match=r"line \d|characters"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "a" + " " * 10**6,
        "a: [" + "\n  1," * 10**5,
        "a: '" + "\n  x" * 10**5,
        'k: "' + "\\" * 10**6,
        "a:" * 5 * 10**5,
        "- " * 10**6,
        "a: " + "'" * (10**6 + 1),
        "a: {" * 2 * 10**5,
        ("x" * 50 + " " * 50) * 10**4,
        "&a " * 10**5 + "b",
        "\n".join(["a0: &a0 1", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 50)}]" for n in range(1, 500))]),
    ],
)
def test_hostile_texts_take_linear_time(text):
    """Quadratic time would be hours here."""
    start = time.perf_counter()
    try:
        parse(text)
    except ValueError:
        pass
    assert time.perf_counter() - start < 60


def test_mutated_configurations_never_escape():
    rng, refused = np.random.default_rng(0), 0
    texts = [path.read_text() for path in sorted(DATA.glob("*.yml"))]
    for _ in range(600):
        bad = list(texts[rng.integers(len(texts))])
        for _ in range(int(rng.integers(1, 6))):
            i = int(rng.integers(len(bad)))
            bad[i : i + 1] = rng.choice(["", "-", ":", " ", "\n", "[", "'", '"', "&", "*", "!", "|", "{", "#", "\t", bad[i] * 2])
        try:
            parse("".join(bad))
        except ValueError:
            refused += 1
    assert 50 < refused < 550


def test_what_pyyaml_writes_is_read_as_it_reads_it():
    yaml = pytest.importorskip("yaml")
    shared = [2, 0]
    value = {
        "width": [shared, shared, [1, 0]],
        "words": ["0", "x^2", "1/sqrt(x)", "- a", "#x", ":", "-", "~", "null", "yes", "1e5", "", " x ", "\u00fc\u20ac\x07"],
        "numbers": [0, -3, 10**12, 1.5e-5, 1e22, float("inf"), 0.1, True, None],
        "nested": [[0, {"a": [{"b": 1, "c": [2]}, {}]}], [], {}],
        "text": "x " * 100 + "it's \"so\"\n and so",
        "lines": ["a\nb", "a\n\nb: c\n", "\n", "x" * 200 + "  " + "y" * 200],
    }
    for flow in (False, None, True):
        assert parse(yaml.safe_dump(value, default_flow_style=flow)) == value
    for path in DATA.glob("*.yml"):
        if path.name not in ("numpy_config.yml", "inputs_config.yml"):
            assert parse(path.read_text()) == yaml.safe_load(path.read_text())
