"""Asking other libraries: one process for each, which may raise, print or die without harm to the rest."""

import ast
import json
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Event, Timer
from typing import NamedTuple

FOLDER = Path(__file__).parent
SECONDS = 300  # for one answer
ENDED = "the process ended"


class Peer(NamedTuple):
    """module: what must import; distribution: knows the version; recorded: the version the ledger was written for."""

    module: str
    distribution: str
    recorded: str


PEERS = {
    "pykan": Peer("kan", "pykan", "0.2.8"),
    "efficient_kan": Peer("efficient_kan", "efficient-kan", "c26e27a"),
    "jaxkan": Peer("jaxkan", "jaxkan", "0.3.7"),
    "torch": Peer("torch", "torch", "2.13.0"),
    "fast_kan": Peer("fastkan", "fast-kan", "1f88094"),
    "kanlib": Peer("kanlib", "kanlib", "0caa397"),
    "matrixkan": Peer("MatrixKANLayer", "MatrixKAN", "408c91e"),
    "cheby_kan": Peer("ChebyKANLayer", "ChebyKAN", "0e4063f"),
    "torchkan": Peer("torchkan", "torchkan", "9063e3c"),
    "flashkan": Peer("FlashKAN", "FlashKAN", "b208776"),
}


@cache
def probes(peer, folder=FOLDER / "probes"):
    """Numbers of the rows that a peer has a probe for."""
    path = folder / f"{peer}.py"
    if not path.exists():
        return frozenset()
    functions = (node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef))
    return frozenset(name.upper() for name in functions if name[0] == "b" and name[1:].isdecimal())


def ask(python=sys.executable, numbers=None, say=None, peers=PEERS, folder=FOLDER / "probes"):
    """{(number, peer): answer} of every peer that has a probe for one of the rows (None: for all).

    python: the interpreter that has the libraries. An answer is {"absent": why}, if the library cannot be imported there,
    or {"version", "finding"}, or {"version", "raised": text} if the probe failed or its process ended. say is called
    with numbers of answers. Raises ValueError if python is no interpreter.
    """
    own = {name: sorted(probes(name, folder), key=lambda number: int(number[1:])) for name in peers}
    wanted = {name: [n for n in known if numbers is None or n in numbers] for name, known in own.items()}
    total, answers = sum(map(len, wanted.values())), {}
    for name, left in wanted.items():
        left = list(left)
        while left:  # once, and again after every case that ends the process
            with _process(python, folder / f"{name}.py", peers[name]) as (about, tell):
                while left:
                    number = left.pop(0)
                    answer = about if "absent" in about else tell(number.lower())
                    answers[number, name] = {**about, **answer}
                    if say is not None:
                        say(len(answers), total)
                    if answer.get("raised", "").startswith(ENDED):
                        break
    return answers


@contextmanager
def _process(python, path, peer):
    """Starts a worker: its {"version"} or {"absent"}, and tell(name) -> answer. It ends with the block, whatever happens."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        command = [python, FOLDER / "worker.py", path, peer.module, peer.distribution]
        try:
            process = subprocess.Popen(command, cwd=folder, text=True, **pipes)
        except OSError as error:
            raise _no_python(python, f"it cannot be started: {error}") from None

        def answer():
            expired = Event()
            late = Timer(SECONDS, lambda: (expired.set(), process.kill()))
            late.start()
            try:
                line = process.stdout.readline()
            finally:
                late.cancel()
            return json.loads(line) if line.startswith("{") else {"raised": _end(process, expired.is_set())}

        def tell(name):
            with suppress(BrokenPipeError):
                process.stdin.write(f"{name}\n")
                process.stdin.flush()
            return answer()

        try:
            if "python" not in answer():
                raise _no_python(python, "it does not answer as one")
            about = answer()
            yield ({"absent": about["raised"]} if "raised" in about else about), tell
        finally:
            process.kill()
            process.communicate()


def _no_python(python, why):
    return ValueError(f"--peers must be a Python interpreter that has the other libraries, but {python} is none: {why}")


def _end(process, expired):
    """Why there was no answer, in words that start with `ENDED`."""
    if expired:
        return f"{ENDED} (no answer within {SECONDS} s)"
    try:
        code = process.wait(5)
    except subprocess.TimeoutExpired:
        return f"{ENDED} its output"
    return f"{ENDED} (signal {-code}, {signal.strsignal(-code)})" if code < 0 else f"{ENDED} (exit code {code})"
