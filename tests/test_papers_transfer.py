"""Transfer between differential equations: trained numbers, batches, the choice of rates, and the record's claims."""

import json
from pathlib import Path

import numpy as np
import pytest

from kanref import lotra
from kanref.papers import transfer
from kanref.solve import make

RECORD = Path(__file__).parent / "data" / "transfer.json"


def results(record):
    """{family: {method: ...}} of a record, see `transfer.collected`."""
    cells, seeds = record["cells"], transfer.SEEDS
    own = lambda family: [cells[f"{family} / {seed}"] for seed in seeds]
    return {family: transfer.collected(own(family), family, transfer.PLAN) for family in transfer.FAMILIES}


def test_batches_cover_the_box():
    problem = make("burgers", {})
    net = transfer.network(problem, transfer.SHORT)
    objectives = transfer.losses(problem, net, 64, 4, 0)
    theta = net.init(0)
    whole = problem.objective(net, problem.points({"equation": 256}, "sobol", 0), hard=True)(theta)[0]
    parts = [objective(theta)[0] for objective in objectives]
    assert np.mean(parts) == pytest.approx(whole, rel=1e-12)
    assert max(parts) < 1.5 * min(parts)


def test_adapters_begin_with_the_trained_network_and_adaptations_are_alone():
    plan, parameters = transfer.SHORT, {"nu": 0.03}
    trained = transfer.first("burgers", 0, plan | {"first": plan["first"] | {"steps": 20}})
    target = transfer.target("burgers", parameters, trained, 0, plan)
    before, full = target.error(trained[0], trained[2]), target.losses(trained[0])
    for name, method in plan["methods"].items():
        if name != "scratch":
            assert target.error(*target.start(method, full)) == pytest.approx(before, rel=1e-12)
    one, two = (target.adapted(plan["methods"]["LoTRA 2"], (0.01, 16), 10)["errors"] for _ in range(2))
    assert one == two and one[0] != before


def test_choices_are_the_least_errors_of_tuning():
    tried = {name: [[0.1, 1, [1e-3, 1e-1]], [0.2, 1, [2e-3, 2e-3]]] for name in transfer.METHODS}
    seconds = {name: 1.0 for name in transfer.METHODS} | {"LoTRA 6": 2.0}
    rates, steps = transfer.chosen({"tried": tried, "seconds": seconds}, transfer.PLAN)
    assert rates == {name: [0.2, 1] for name in transfer.METHODS}
    assert steps == {"LoTRA 6": transfer.PLAN["steps"] / 2, "LoTRA 6, equal": transfer.PLAN["steps"]}


def test_equations_of_tuning_are_not_among_the_six():
    for family in transfer.FAMILIES.values():
        targets = [make_key(parameters) for parameters in family["targets"]]
        assert len(set(targets)) == 6
        assert not {make_key(parameters) for parameters in [family["start"], *family["tuning"]]} & set(targets)
    assert transfer.TUNING not in transfer.SEEDS


def make_key(parameters):
    return tuple(sorted(parameters.items()))


def test_short_form(tmp_path, monkeypatch):
    table = transfer.run(tmp_path, short=True)
    (record,) = json.loads((tmp_path / "transfer-short.json").read_text())["cells"]["burgers / 0"]
    before = record["before"]["errors"][0]
    assert all(run["errors"][-1] < before for name, run in record.items() if name not in ("before", "scratch"))
    assert len(record["full"]["errors"]) == len(transfer.SHORT["looks"]) and record["LM"]["seconds"] > 0
    assert "LoTRA 6, equal, theory's rate" in table and "better than equal rates" in table
    assert (tmp_path / "transfer-short.png").stat().st_size > 10_000
    monkeypatch.setattr(transfer, "adapt", lambda *args, **options: pytest.fail("the cell was there already"))
    assert transfer.run(tmp_path, short=True) == table


def test_trained_numbers_are_those_of_the_networks():
    record = json.loads(RECORD.read_text())
    for family, methods in results(record).items():
        net = transfer.network(make(family, transfer.FAMILIES[family]["start"]), transfer.PLAN)
        theta = net.init(0)
        for name, method in transfer.METHODS.items():
            own = {"kind": method.get("kind", "tucker")}
            size = lotra.adapt(net, theta, method["ranks"], **own)[0].size if "ranks" in method else net.size
            assert methods[name]["size"] == size
        assert methods[transfer.THEORY]["size"] <= 0.15 * net.size


def test_the_record_is_within_the_bounds_but_for_one_family():
    """At equal steps and with 13 % of the numbers, LoTRA with rates of the theory is within 1.5 times full fine-tuning and
    below equal rates on four of five families; for Poisson's equation tuning chose a rate at which runs diverge. From the
    gradient all five are below full fine-tuning, and equal rates are as good on two of them."""
    record = json.loads(RECORD.read_text())
    assert record["settings"] == json.loads(json.dumps(transfer.PLAN))
    found = results(record)
    verdicts = transfer.verdicts(found)
    _, by_full, by_equal = verdicts.pop("poisson")
    assert by_full > 5 and by_equal > 2
    shares, by_full, by_equal = np.array(list(verdicts.values())).T
    assert shares.max() <= transfer.BOUNDS["share"]
    assert by_full.max() < 1.2 < transfer.BOUNDS["ratio"]
    assert by_equal.max() < 0.7
    from_gradient = transfer.verdicts(found, "gradient")
    assert max(by_full for _, by_full, _ in from_gradient.values()) < 0.9
    assert [f for f, (_, _, by_equal) in from_gradient.items() if by_equal >= 1] == ["poisson", "reaction_diffusion"]
    assert "with at most 15 % of its numbers: 4 of 5 families; better than equal rates: 4 of 5" in transfer.verdict_table(found)


def test_the_record_at_equal_work_and_with_many_points():
    """At equal work the same holds. With sixteen times as many points full fine-tuning is ahead on all families but one: few
    points are where adapters, which cannot fit them as closely, are as good."""
    median = transfer.median
    for family, methods in results(json.loads(RECORD.read_text())).items():
        of = lambda *names, own=methods: [median(own[name]) for name in names]
        full, gradient = of("full, many points", "LoTRA 6, gradient, many points")
        assert (1.5 < gradient / full < 4.5) == (family != "helmholtz")
        if family == "poisson":
            continue  # diverged
        theory, equal = of(f"{transfer.THEORY}, equal work", f"{transfer.EQUAL}, equal work")
        assert theory < 0.7 * equal and theory < 1.5 * median(methods["full"])
        theory, equal = of(f"{transfer.THEORY}, many points", f"{transfer.EQUAL}, many points")
        assert theory < 0.6 * equal
        assert (2 < theory / full < 4) == (family != "helmholtz")
        for other in ("scratch", "matrix", "LoTRA 2", "LoTRA 6, equal, theory's rate"):
            assert median(methods[transfer.THEORY]) < median(methods[other])
        assert median(methods["LoTRA 2"]) < median(methods["LoTRA 2, equal"])


def test_poisson_was_at_the_edge_of_stability():
    """What tuning chose was better than half of that rate by a few percent, and some of the runs with it diverged."""
    record = json.loads(RECORD.read_text())
    rows = {(rate, c): np.exp(np.log(e).mean()) for rate, c, e in record["cells"]["poisson / tuning"]["tried"][transfer.THEORY]}
    chosen = transfer.chosen(record["cells"]["poisson / tuning"], transfer.PLAN)[0][transfer.THEORY]
    assert list(chosen) == [max(transfer.PLAN["rates"]), 64]
    assert rows[0.064, 64] < rows[0.032, 64] < 1.05 * rows[0.064, 64]
    assert results(record)["poisson"][transfer.THEORY]["errors"][:, -1].max() > 10


def test_what_was_tuned_is_what_was_used():
    """Every method had the same base rates to choose from, and the theory three ratios besides; with one of them, 64, and so as
    many choices as equal rates, it is ahead as well."""
    record = json.loads(RECORD.read_text())
    for family in transfer.FAMILIES:
        tuned = record["cells"][f"{family} / tuning"]
        for name, rows in tuned["tried"].items():
            assert sorted({row[0] for row in rows}) == transfer.PLAN["rates"]
            assert {row[1] for row in rows} == ({16, 64, 256} if transfer.METHODS[name].get("rates") else {1})
        rates, _ = transfer.chosen(tuned, transfer.PLAN)
        assert rates["LoTRA 2"] == rates[transfer.THEORY] and rates["LoTRA 2, equal"] == rates[transfer.EQUAL]
        least = lambda name, ratio, tried=tuned["tried"]: min(np.log(e).mean() for _, c, e in tried[name] if c == ratio)
        assert least(transfer.THEORY, 64) < least(transfer.EQUAL, 1) + np.log(0.8)
