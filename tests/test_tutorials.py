"""The tutorials run from top to bottom with all their asserts, draw what they show, and write nothing."""

import re
import runpy
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "tutorials").glob("[0-9][0-9]_*.py"))
named = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
PARTS = ("**What you'll do.**", "**What you'll learn**", "**What you'll need.**", "## In practice", "## On your own")


def cells(path):
    """(is_markdown, lines) of every cell of a percent script."""
    head, *rest = re.split(r"^# %%(.*)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert not head.strip(), "text before the first cell"
    return [(kind.strip() == "[markdown]", body.strip().splitlines()) for kind, body in zip(rest[::2], rest[1::2])]


def test_there_are_tutorials():
    assert [int(path.stem[:2]) for path in TUTORIALS] == list(range(1, len(TUTORIALS) + 1))
    assert TUTORIALS


@named
def test_runs(path, tmp_path, monkeypatch):
    shown = []

    def show():
        for number in plt.get_fignums():
            figure = plt.figure(number)
            assert all(axis.has_data() for axis in figure.axes), "an axis without data"
            figure.canvas.draw()
            shown.append(figure)
        plt.close("all")

    matplotlib.use("Agg")
    monkeypatch.setattr(plt, "show", show)
    monkeypatch.chdir(tmp_path)
    with matplotlib.rc_context():
        runpy.run_path(str(path), run_name="__main__")
    assert len(shown) >= 2
    assert not plt.get_fignums(), "a figure that was never shown"
    assert not list(tmp_path.iterdir()), "tutorials must not write files"


@named
def test_is_a_notebook(path):
    """Text cells hold text, code cells compile, and the parts of a tutorial are there, in order."""
    parts = cells(path)
    assert parts[0][0] and parts[0][1][0].startswith("# # "), "the first cell must hold the title"
    text = []
    for is_markdown, lines in parts:
        assert lines, "an empty cell"
        if is_markdown:
            assert all(line.startswith("#") for line in lines), "code in a markdown cell"
            text += [line[2:] for line in lines]
        else:
            compile("\n".join(lines), str(path), "exec")
            assert not all(line.startswith("#") for line in lines), "a code cell without code"
    text = "\n".join(text)
    places = [text.index(part) for part in PARTS]
    assert places == sorted(places)
    assert text.count("$") % 2 == 0
    steps = [int(number) for number in re.findall(r"^## Step (\d+)", text, flags=re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) >= 5
    exercises = re.findall(r"^\d\. ", text[places[-1] :], flags=re.MULTILINE)
    assert 2 <= len(exercises) <= 4
