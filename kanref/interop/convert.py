"""From one library's file to another's: formats by content and suffix.

    reports = convert("model/0.1", "model.safetensors")            pykan to kanref
    reports = convert("model.safetensors", "model.pt", "efficient-kan")

| library         | files that are read                               | written for the suffix                      |
|-----------------|---------------------------------------------------|---------------------------------------------|
| `kanref`        | its safetensors file, or the folder of kanref fit | .safetensors                                |
| `pykan`         | a checkpoint of 0.1 or 0.2, a state dict of 0.0   | none, or a number, as in model/0.1: 0.2.8   |
| `efficient-kan` | state dict, torch zip or safetensors              | give `to`; .safetensors, else torch zip     |
| `fast-kan`      | the same                                          | give `to`; .safetensors, else torch zip     |
| `cheby-kan`     | the same                                          | give `to`; .safetensors, else torch zip     |
| `jaxkan`        | npz or msgpack with grids                         | .npz, .msgpack                              |
"""

import inspect
import os
import re

import numpy as np

from kanref.arrays import choice
from kanref.bases import BSpline, MinMax
from kanref.interop import cheby_kan, efficient_kan, fast_kan, jaxkan, pykan
from kanref.interop.report import Report
from kanref.interop.staged import staged
from kanref.interop.tensors import format_of, read_arrays, some
from kanref.io import FileError
from kanref.model import Model

LIBRARIES = {
    "pykan": pykan,
    "efficient-kan": efficient_kan,
    "fast-kan": fast_kan,
    "cheby-kan": cheby_kan,
    "jaxkan": jaxkan,
}
KINDS = ("kanref", *LIBRARIES)
MARKS = {  # ends of names that only one library has
    "spline_linear.weight": "fast-kan",
    "spline_weight": "efficient-kan",
    "cheby_coeffs": "cheby-kan",
    "c_basis": "jaxkan",
    "act_fun.0.coef": "pykan",
}
SUFFIXES = {".safetensors": "kanref", ".npz": "jaxkan", ".msgpack": "jaxkan"}
SAMPLES = 200  # on which what was written is compared with what was read; fewer for large networks


def convert(source, target, to=None, strict=True, overwrite=False, **reading):
    """Read a model of any library and write it as another's: a list of `Report`, of reading and of writing.

    to: "kanref", "pykan", "efficient-kan", "fast-kan", "cheby-kan" or "jaxkan"; by default as the suffix of the target says.
    reading: arguments of the source's reader, as columns for pykan. strict: refuse what would be another function.
    What was written is read again, and the last report says under "checked" how far its outputs are from the source's on
    random samples; if that is more than rounding, the function differs. Only then the target takes its place, all its files
    together: after an error or Ctrl-C nothing has been written, and what --overwrite would have replaced is there as it was.

    Raises FileNotFoundError, FileExistsError, `FileError` and `Unrepresentable`.
    """
    to = kind_of_target(target) if to is None else choice(to, "to", KINDS)
    there = [path for path in written(target, to) if os.path.lexists(path)]
    if there and not overwrite:
        raise FileExistsError(f"{there[0]} exists; choose another file or add --overwrite")
    model, reports = load(source, strict, **reading)
    with staged(written(target, to)) as folder:
        draft = os.path.join(folder, os.path.basename(target))
        if to == "kanref":
            model.save(draft)
            report = Report("to kanref", kept=[f"{list(model.net.widths)} with {model.net.size} parameters"])
            again = Model.load(draft)
        else:
            report = LIBRARIES[to].write(model, draft, strict=strict)
            again, _ = LIBRARIES[to].read(draft, strict=False, **report.reading)
        _compare(model, again, report)
        report.settled(strict)
    return [*reports, report]


def _compare(model, again, report):
    """What was read again beside what was written, on random samples: a remark, and one more if it is another function."""
    count = min(SAMPLES, max(1, 2**24 // max(model.net.size, 1)))
    x = np.random.default_rng(0).uniform(*_box(model), (count, model.width))
    with np.errstate(all="ignore"):
        y, found = model.raw(x), again.raw(x)
        real = np.isfinite(y)
        difference, size = np.abs(found - y)[real].max(initial=0), np.abs(y[real]).max(initial=0)
    if not real.any():
        report.checked.append(f"read again, but none of the outputs on {count} random samples is finite: nothing is compared")
        return
    without = f", of whose outputs {(~real).sum()} are not finite" * (not real.all())
    text = f"outputs differ by {difference:.1e} of {size:.1e} at most, on {count} random samples{without}"
    report.checked.append(f"read again: {text}")
    if difference > np.sqrt(np.finfo(model.theta.dtype).eps) * size or (np.isfinite(found) != real).any():
        report.differs.append(f"read again, {text}")


def load(path, strict=True, **reading):
    """The `Model` in a file of any library, and a list of reports, none for kanref's own."""
    kind = kind_of(path)
    if kind == "kanref":
        if reading:
            raise ValueError(f"{', '.join(reading)}: kanref's own files need nothing beside them")
        folder = os.path.join(path, "model.safetensors")
        return Model.load(folder if os.path.isdir(path) else path), []
    read = LIBRARIES[kind].read
    if unknown := set(reading) - set(inspect.signature(read).parameters):
        raise ValueError(f"{path} is of {kind}, whose reader takes no {', '.join(sorted(unknown))}")
    model, report = read(path, strict=strict, **reading)
    return model, [report]


def kind_of(path):
    """The library that a file is of, by its content; FileError for files of none."""
    path = os.fspath(path)
    if os.path.isdir(path):
        if os.path.isfile(os.path.join(path, "model.safetensors")):
            return "kanref"
        raise FileError(f"{path} is a folder without a model.safetensors; name a file, for pykan as model/0.1")
    if pykan.is_checkpoint(path):
        return "pykan"
    if format_of(path) == "safetensors" and _is_ours(path):
        return "kanref"
    names = read_arrays(path)
    for mark, kind in MARKS.items():
        if any(name == mark or name.endswith(f".{mark}") for name in names):
            return kind
    raise FileError(f"{path} is of no library known here ({', '.join(KINDS)}); it has {some(names)}")


def kind_of_target(path):
    """The library that the suffix of a path stands for."""
    name = os.path.basename(os.fspath(path))
    suffix = os.path.splitext(name)[1]
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if re.fullmatch(r"(\.\d+)?", suffix):
        return "pykan"
    raise ValueError(f"what {name} shall be is not clear from its suffix {suffix}; add --to with one of {', '.join(KINDS)}")


def written(path, kind):
    """The files that a model of a library is written to."""
    return pykan.files(path) if kind == "pykan" else [os.fspath(path)]


def _is_ours(path):
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return "kanref" in (file.metadata() or {})
    except (SafetensorError, OSError, ValueError):
        return False


def _box(model):
    """Low and high of random samples: the domain of the first splines or input map, made wider by half, else [-2, 2]."""
    layer, low, high = model.net.layers[0], -2.0, 2.0
    for part in (layer.normalise, *(getattr(term, "basis", None) for term in layer.terms.values())):
        if isinstance(part, MinMax | BSpline):
            ends = (part.low, part.high) if isinstance(part, MinMax) else part.domain.T
            low, high = float(ends[0].min()), float(ends[1].max())
            return low - (high - low) / 4, high + (high - low) / 4
    return low, high
