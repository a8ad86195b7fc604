"""What all experiments share: many independent cells, computed once, kept in a JSON file, resumed where they stopped."""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np

from kanref.io import write_atomically
from kanref.optimize import Stop

ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("NUMBA", "OMP", "OPENBLAS", "MKL")}


def cells(path, settings, keys, compute, progress=None, jobs=1):
    """{key: compute(key)} for all keys; what `path` holds already is not computed again.

    settings: JSON types that identify the experiment; a record of other settings is started anew. keys: texts. compute: a
    function of a module (or a `functools.partial` of one) that returns JSON types. progress: show a bar, by default if
    the terminal is one. jobs: processes, each with one thread. The file is written after every cell, atomically, so that Ctrl-C
    (KeyboardInterrupt) loses unfinished cells only. Raises ValueError if `path` is a file that was not written here.
    """
    settings = json.loads(json.dumps(settings))
    done = _done(path, settings) if os.path.exists(path) else {}
    missing = [key for key in keys if key not in done]
    for key, result in _bar(_results(missing, compute, jobs), len(missing), os.path.basename(path), progress):
        done[key] = result
        record = {"settings": settings, "cells": done}
        write_atomically(path, json.dumps(record, indent=1).encode())
    return {key: done[key] for key in keys}


def rounded(numbers, digits):
    """A number, or lists of numbers of any depth, with so many significant digits, as records keep them."""
    if np.ndim(numbers):
        return [rounded(part, digits) for part in numbers]
    return float(f"{numbers:.{digits}g}")


def finished(result):
    """What an optimiser or `nested` returned. Raises KeyboardInterrupt if Ctrl-C cut it short: half a run is no result."""
    if result.reason is Stop.INTERRUPTED:
        raise KeyboardInterrupt
    return result


def _done(path, settings):
    """The cells that a file has already."""
    try:
        with open(path) as file:
            record = json.load(file)
        own, done = record["settings"], record["cells"]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is no record of an experiment; choose another folder, or remove it") from None
    return done if own == settings else {}


def _results(keys, compute, jobs):
    """Pairs (key, result), as they become ready."""
    if jobs == 1 or len(keys) < 2:
        yield from ((key, compute(key)) for key in keys)
        return
    with _environment(ONE_THREAD), ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(compute, key): key for key in keys}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _environment(values):
    """Environment variables that new processes start with; as before when left."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _bar(results, total, label, progress):
    if not (sys.stderr.isatty() if progress is None else progress) or not total:
        yield from results
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=label, dynamic_ncols=True) as bar:
        for key, result in results:
            yield key, result
            bar.set_postfix_str(key, refresh=False)
            bar.update()
