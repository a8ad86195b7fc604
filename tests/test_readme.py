"""The README is true: its program prints what it says, its commands exist, its picture is there."""

import contextlib
import io
import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from kanref.papers import EXPERIMENTS

README = Path(__file__).parents[1] / "README.md"


def run(source):
    """What a program prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "README.md", "exec"), {"__name__": "readme"})
    return printed.getvalue()


def block(after, language):
    """The first code block in a language after some text."""
    text = README.read_text().split(after, 1)[1]
    return re.search(rf"```{language}\n(.*?)```", text, re.DOTALL).group(1)


def test_program_prints_what_the_readme_says():
    printed, promised = run(block("## A complete program", "python")), block("It prints", "")
    for line, promise in zip(printed.splitlines(), promised.splitlines(), strict=True):
        *words, error = line.split()
        *same, figure = promise.split()
        assert words == same
        assert float(figure) / 2 <= float(error) <= 2 * float(figure)


PROGRAMS = "## From data to a formula", "## Differential equations, from coarse to fine", "## From one equation to the next"


@pytest.mark.parametrize("section", PROGRAMS)
def test_programs_print_these_very_words(section):
    printed = README.read_text().split(section, 1)[1].split("It prints\n\n```\n", 1)[1].split("```")[0]
    assert run(block(section, "python")) == printed


def test_pictures_exist():
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", README.read_text()):
        assert (README.parent / picture).is_file(), picture


def test_every_command_and_option_in_the_readme_exists():
    from kanref import cli

    parser = cli._parser()
    lines = re.findall(r"^(?:.*&& )?(?:\.venv/bin/)?kanref ((?!is).*)$", README.read_text(), re.MULTILINE)
    assert len(lines) >= 6
    for line in lines:
        words = [word for word in line.split("#")[0].split() if word]
        with contextlib.redirect_stderr(io.StringIO()) as complaint:
            try:
                parser.parse_args(words)
            except SystemExit as stop:
                assert stop.code == 0, f"kanref {line}: {complaint.getvalue()}"


def test_the_table_of_ulps_is_the_one_that_is_tested():
    from kanref.check import ULPS

    rows = block_of_table("<!-- ulps")
    assert {int(degree): int(bound) for degree, bound in zip(rows[0], rows[1], strict=True)} == ULPS


def test_the_defects_that_are_counted_are_recorded():
    from kanref import ledger
    from kanref.ledger.report import meets, read

    rows = {row.number: row for row in ledger.rows()}
    wrong = [peer for (number, peer), answer in read().items() if not meets(rows[number], answer)]
    told = README.read_text().split("<!-- ledger -->", 1)[1].split("(", 1)[0]
    counts = {name.replace("-", "_").lower(): int(count) for count, name in re.findall(r"(\d+) (?:rows )?for ([\w-]+)", told)}
    assert counts == {peer: wrong.count(peer) for peer in ("pykan", "efficient_kan", "jaxkan")}


def block_of_table(after):
    """Cells of the first and third line of the table after some text, without the first column."""
    lines = [line for line in README.read_text().split(after, 1)[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in lines[k].strip("|").split("|")[1:]] for k in (0, 2)]


def recorded(name, folder, monkeypatch):
    """What `kanref reproduce NAME` prints from its record in tests/data, where it would resume, without its figure."""
    shutil.copy(README.parent / f"tests/data/{name}.json", folder)
    drawing = import_module(f"kanref.papers.{'special' if name == 'feynman' else name}")
    monkeypatch.setattr(drawing, "draw", lambda *args: Figure())
    return import_module(f"kanref.papers.{name}").run(folder, progress=False)


def test_the_staircase_in_the_readme_is_the_recorded_one():
    """The record is what `kanref reproduce staircase` wrote: five seeds, at or below the authors' figures in the median."""
    record = json.loads((README.parent / "tests/data/staircase.json").read_text())
    medians = np.median([np.array(errors)[:, 1] for errors in record["cells"].values()], axis=0)
    assert len(record["cells"]) == 5 and record["settings"]["intervals"] == [5, 10, 20, 50, 100]
    assert (medians <= record["settings"]["paper"]).all()
    lines = README.read_text().split("<!-- staircase", 1)[1].splitlines()
    row = next(line for line in lines if line.startswith("| kanref"))
    assert [float(cell) for cell in row.strip("|").split("|")[1:]] == [float(f"{m:.1e}") for m in medians]


def experiments():
    """{name: what the README quotes from its table}."""
    table = README.read_text().split("<!-- experiments", 1)[1].split("\n\n")[1]
    rows = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return {cells[0].strip(" `"): re.findall(r"`(.*?)`", cells[-1]) for cells in rows}


@pytest.mark.parametrize("name", experiments())
def test_figures_in_the_readme_are_recorded(name, tmp_path, monkeypatch):
    printed = " ".join(recorded(name, tmp_path, monkeypatch).split())
    for figure in experiments()[name]:
        assert figure in printed, f"{figure!r} is not in what {name} prints"


def test_every_experiment_is_in_the_readme():
    assert set(experiments()) == set(EXPERIMENTS)
