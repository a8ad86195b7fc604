"""Hello world and the interpretability toys: kept records are exact, short forms too, and runs resume."""

import json
from pathlib import Path

import numpy as np
import pytest

from kanref.data.toys import INTERPRETABLE, SHAPES
from kanref.papers import hello, toys

RECORDS = Path(__file__).parent / "data"
EXACT = [name for name in toys.TOYS if name != "transition"]


def record(name):
    return json.loads((RECORDS / f"{name}.json").read_text())["cells"]


def test_hello_world_is_exact_for_nine_seeds_of_ten():
    seeds = record("hello")
    assert list(seeds) == [str(seed) for seed in range(10)]
    met = [own for own in seeds.values() if own["formula"] == "exp(x2**2 + sin(pi*x1))" and own["test"] < 1e-9]
    assert len(met) >= 9
    assert all(own["certificate"] < 1e-10 and own["shape"] == [2, 1, 1] for own in met)


@pytest.mark.parametrize("name", EXACT)
def test_toys_are_exact(name):
    best = toys.best(name, [record("toys")[f"{name}/{seed}"] for seed in toys.SEEDS])
    assert best["test"] < toys.EXACT and best["certificate"] < 1e-10
    assert tuple(best["shape"]) in SHAPES[name]


@pytest.mark.parametrize("name", EXACT)
def test_the_formula_of_the_record_is_the_target(name):
    import sympy

    target = INTERPRETABLE[name]
    formula = toys.best(name, [record("toys")[f"{name}/{seed}"] for seed in toys.SEEDS])["formula"]
    function = sympy.lambdify(sympy.symbols(target.names), sympy.sympify(formula), ["scipy", "numpy"])
    X, y = target.sample(200, 5)
    np.testing.assert_allclose(function(*X.T), y, rtol=1e-9, atol=1e-12)


def test_the_label_is_right_more_often_than_not():
    best = toys.best("transition", [record("toys")[f"transition/{seed}"] for seed in toys.SEEDS])
    assert best["test"] > 0.95


def test_records_are_of_these_settings():
    kept = json.loads((RECORDS / "toys.json").read_text())["settings"]
    assert kept == json.loads(json.dumps({"toys": toys.TOYS, "samples": toys.SAMPLES, "test": toys.TEST}))
    assert json.loads((RECORDS / "hello.json").read_text())["settings"] == hello.SETTINGS


@pytest.mark.parametrize("module, shown", [(hello, hello.FORMULA), (toys, "tanh(atanh(u) + atanh(v))")])
def test_short_forms_are_exact_and_resume(module, shown, tmp_path, monkeypatch):
    name = module.__name__.rsplit(".", 1)[1]
    text = module.run(tmp_path, short=True)
    (own,) = json.loads((tmp_path / f"{name}-short.json").read_text())["cells"].values()
    assert own["formula"] == shown and shown in text
    assert own["test"] < 1e-9 and own["certificate"] < 1e-10
    assert (tmp_path / f"{name}-short.png").stat().st_size > 10_000
    monkeypatch.setattr(module, "learn", lambda *args: pytest.fail("the cell was there already"))
    assert module.run(tmp_path, short=True) == text


def test_models_survive_the_record():
    target = INTERPRETABLE["velocities"]
    own, found = toys.learn(target, [2, 1, 1], 3, 0)
    X = target.sample(50)[0]
    model = toys.decoded(json.loads(json.dumps(own["model"])))
    np.testing.assert_array_equal(model.predict(X), found.model.predict(X))
    assert model.input_names == ["u", "v"]
