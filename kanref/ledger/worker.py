"""The process that asks one library: python worker.py PROBES_FILE MODULE DISTRIBUTION.

It runs under the interpreter that has the library and imports nothing of kanref. Names of probes come in on stdin, one a line;
one JSON object a line goes out on stdout. The first says that this is Python, the second whether the module can be imported:

    {"python": "3.11.8"}
    {"version": "0.2.8"} or {"absent": "ModuleNotFoundError: No module named 'kan'"}

and then, for each name, {"finding": {...}} or {"raised": "ValueError: ..."}. Whatever the library prints goes to stderr.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys


def plain(value):
    """Arrays and numbers of NumPy as lists and numbers of Python."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value


def told(error):
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def main(path, module, distribution):
    here = os.path.dirname(os.path.abspath(__file__))  # its files are not for the library to find
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # prints, of compiled code too

    def tell(answer):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    tell({"python": platform.python_version()})
    try:
        library = importlib.import_module(module)
        spec = importlib.util.spec_from_file_location(f"probes_of_{module}", path)
        probes = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(probes)
    except Exception as error:
        tell({"absent": told(error)})
        return
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # a single file, or a checkout on the path
        version = getattr(library, "__version__", "")
    tell({"version": version})
    for line in sys.stdin:
        try:
            tell({"finding": plain(getattr(probes, line.strip())())})
        except Exception as error:
            tell({"raised": told(error)})


if __name__ == "__main__":
    main(*sys.argv[1:])
