"""Cells of experiments: computed once, kept in a file, resumed where they stopped."""

import json
import os
from types import SimpleNamespace

import pytest

from kanref.optimize import Stop
from kanref.papers.experiment import ONE_THREAD, cells, finished

SETTINGS = {"grid": (3, 5), "rate": 0.1}


def counted(compute, log):
    return lambda key: log.append(key) or compute(key)


def test_what_is_there_is_not_computed_again(tmp_path):
    path, log = tmp_path / "a.json", []
    assert cells(path, SETTINGS, ["bb", "a"], counted(len, log), False) == {"bb": 2, "a": 1}
    found = cells(path, SETTINGS, ["a", "ccc", "bb"], counted(len, log), False)
    assert list(found.items()) == [("a", 1), ("ccc", 3), ("bb", 2)] and log == ["bb", "a", "ccc"]
    assert cells(path, {**SETTINGS, "rate": 0.2}, ["a"], counted(len, log), False) == {"a": 1}
    assert log == ["bb", "a", "ccc", "a"]
    assert json.loads(path.read_text()) == {"settings": {"grid": [3, 5], "rate": 0.2}, "cells": {"a": 1}}


def test_an_interrupt_loses_unfinished_cells_only(tmp_path):
    def compute(key):
        if key == "c":
            raise KeyboardInterrupt
        return key

    with pytest.raises(KeyboardInterrupt):
        cells(tmp_path / "a.json", SETTINGS, list("abcd"), compute, False)
    assert json.loads((tmp_path / "a.json").read_text())["cells"] == {"a": "a", "b": "b"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("reason", Stop)
def test_half_a_run_is_no_result(reason):
    """Only what Ctrl-C has cut short is refused; whatever else ended it, the result is handed on."""
    result = SimpleNamespace(reason=reason)
    if reason is Stop.INTERRUPTED:
        with pytest.raises(KeyboardInterrupt):
            finished(result)
    else:
        assert finished(result) is result


def test_processes_have_one_thread_each_and_leave_the_environment_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    names = list(ONE_THREAD)
    before = dict(os.environ)
    assert cells(tmp_path / "a.json", {}, names, os.getenv, False, jobs=2) == ONE_THREAD
    assert dict(os.environ) == before


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"settings": {}}', "3"])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="a.json is no record of an experiment; choose another folder, or remove it"):
        cells(path, SETTINGS, ["a"], len, False)
    assert path.read_text() == text
