"""Golden vectors: questions about Kolmogorov-Arnold networks with answers that any implementation can be held against.

    load("bspline")                 the cases of a group
    groups()                        names of all groups
    conformance.run(adapter)        put an implementation to all of them
    python -m kanref.golden         compute all again, bit for bit

How to read the files, in any language
--------------------------------------
`vectors/GROUP.json` holds the cases of one group, `vectors/schema.json` is their JSON schema. A file has `format`
("kanref-golden"), `version` (1; it changes when a reader must), `group`, `definitions` and `cases`. A case:

    id          "bspline/clamped-degree-3-order-1-zero"
    operation   the function that is asked for; `definitions` has its formula, `kanref.golden.protocol` all of them
    inputs      its arguments by name
    expected    {name: array}; the name is "result" if there is but one
    ulps        {"float64": u, "float32": u}, the tolerance
    call        what made the reference value
    routes      the independent ways by which it was found, which met

An array is {"shape": [2, 3], "values": [six numbers]} in row-major order; shape [] is a single number. `values` are
decimals of 17 significant digits. Where they are not exact, `hex` has the same doubles in hexadecimal, as C's strtod and
Python's float.fromhex read them, and `exact` the fractions "p/q" if all are short. Expected values are the doubles nearest
to the exact results. Inputs are dyadic numbers of at most 24 bits, exact in float32 too, except for the free knots' `least`.
Everything else is plain JSON: degree 3, outside "zero", labels [0, 2, 1].

An answer is right if every entry is within ulps[dtype] * eps * s of the expected one: eps is 2^-52 for float64 and 2^-23 for
float32, s the largest modulus in the expected array, 1 if it is all zeros. So errors count against the largest
entry, not entry by entry: small ones come from cancellation. Run float32 with float32 inputs, arithmetic and results.

`vectors/GROUP.safetensors` holds the same arrays, and them alone, in float64: "ID/inputs/x", "ID/inputs/network/0/spline" for
layer 0, "ID/expected/result". It is eight bytes with the length of its header, unsigned, then the header, JSON, then the
numbers, row-major; everything is little-endian. Under the name of each array the header has {"dtype": "F64", "shape": [...],
"data_offsets": [first, last + 1]}, in bytes after the header, and under "__metadata__" group and version: `kanref.golden.case`.
Everything else about a case, also numbers alone as 0.75, stands in the JSON file.

A network is a list of layers, a layer an object of the arrays that it has; `kanref.golden.protocol` explains the keys.
Gradients are named "layer.array", "0.spline". Optimisers take an `objective` by name with its numbers:
`kanref.golden.protocol.objective` is its formula.
"""

from functools import cache
from pathlib import Path

from kanref.golden.case import VERSION, Case, parsed

FOLDER = Path(__file__).parent / "vectors"


@cache
def groups():
    """Names of the groups, in alphabetical order."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "schema"))


@cache
def load(group) -> tuple[Case, ...]:
    """The cases of a group. Arrays are read by `Case.arguments` and `Case.answers`."""
    if group not in groups():
        raise ValueError(f"group must be one of {', '.join(groups())}, but it is {group!r}")
    path = FOLDER / f"{group}.json"
    return tuple(parsed(path.read_text("utf-8"), path.name))


__all__ = ["VERSION", "Case", "groups", "load"]
