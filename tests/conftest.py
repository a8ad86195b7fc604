"""What several test files share."""

import os
import subprocess
import sys

import pytest

THREADS = """
import numba, numpy as np, sys
sys.path.insert(0, sys.argv[1])
from {module} import {results}
numba.set_num_threads(1)
one = {results}()
assert one
numba.set_num_threads(2)
for _ in range(3):
    assert all(np.array_equal(a, b) for a, b in zip(one, {results}(), strict=True))
print(numba.get_num_threads(), "threads agree")
"""


@pytest.fixture
def threads_agree():
    """threads_agree(__file__, results) asserts that the arrays that a test file's function returns are the same bits with one
    thread and with two. In a process of its own, because the number of threads is fixed when Numba starts."""

    def agree(file, results):
        here, module = os.path.split(os.path.abspath(file))
        environment = {**os.environ, "NUMBA_NUM_THREADS": "2"}
        environment["PYTHONPATH"] = os.pathsep.join([os.path.dirname(here), os.environ.get("PYTHONPATH", "")])
        code = THREADS.format(module=os.path.splitext(module)[0], results=results.__name__)
        run = subprocess.run([sys.executable, "-c", code, here], env=environment, capture_output=True, text=True)
        assert run.stdout == "2 threads agree\n", run.stderr

    return agree


@pytest.fixture
def torch(tmp_path, monkeypatch):
    """torch in float64, where it is installed; pykan writes into the current directory."""
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)
