"""The format of golden vectors: a case, how it is written as JSON, how it is read.

An array is {"shape": [...], "values": [...], "hex": [...]}: entries in row-major order, as decimals of 17 significant
digits and as hexadecimal floats, both the double nearest to the exact value. "hex" is left out where the decimals are
exact. "exact" holds the fractions "p/q" where all are short. Numbers alone are exact decimals; the rest is plain JSON.

The arrays of a group also come as one safetensors file of float64, named by their places: "ID/inputs/network/0/spline",
"ID/expected/result", with {"kanref-golden": {"version": 1, "group": ...}} as JSON in its metadata.
"""

import json
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

VERSION = 1
LONGEST = 12  # characters of fractions that are written out


@dataclass(frozen=True, eq=False)
class Case:
    """One question with its answer.

    operation: the function asked for; inputs: its arguments by name; expected: {name: array}, under the name "result" alone
    if the answer is one array. ulps: {"float64": u, "float32": u}: an entry may be off by u times the machine epsilon
    (2^-52, 2^-23) times the largest entry of its expected array, or 1 for an array of zeros.
    """

    id: str
    group: str
    operation: str
    definition: str
    call: str  # that made the reference
    inputs: dict
    expected: dict
    ulps: dict
    routes: tuple  # to the reference, at least two, which were found to meet

    def arguments(self, dtype="float64"):
        """The inputs with arrays of a precision, newly made."""
        return decoded(self.inputs, np.dtype(dtype))

    def answers(self):
        """The expected arrays in float64."""
        return decoded(self.expected, np.dtype(np.float64))


def encoded(part):
    """Exact numbers, arrays of them, dictionaries and lists as JSON types."""
    if isinstance(part, dict):
        return {key: encoded(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [encoded(value) for value in part]
    if isinstance(part, np.ndarray):
        return encoded_array(part)
    if isinstance(part, Fraction):
        if part != Fraction(float(part)):
            raise ValueError(f"{part} is no float64; draw dyadic inputs")
        return float(part)
    return part


def encoded_array(a):
    """An array of Fractions."""
    flat = [Fraction(value) for value in a.ravel().tolist()]
    near = [float(value) for value in flat]
    written = {"shape": list(a.shape), "values": near}
    texts = [str(value) for value in flat]
    if any(Fraction(decimal(v)) != exact for v, exact in zip(near, flat)):
        written["hex"] = [hexadecimal(v) for v in near]
        if all(len(text) <= LONGEST for text in texts):
            written["exact"] = texts
    return written


def decimal(value):
    """17 significant digits, trailing zeros left out."""
    return format(value, ".17g")


def hexadecimal(value):
    """As C's %a, without trailing zeros."""
    mantissa, exponent = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{exponent}"


def decoded(part, dtype):
    """The inverse of `encoded`; arrays of a precision."""
    if isinstance(part, dict):
        if "shape" in part:
            return np.array(part["values"], dtype).reshape(part["shape"])
        return {key: decoded(value, dtype) for key, value in part.items()}
    return [decoded(value, dtype) for value in part] if isinstance(part, list) else part


def arrays(part, place):
    """{place: float64 array} of all arrays in a nested part, places being joined by "/"."""
    if isinstance(part, dict) and "shape" in part:
        return {place: decoded(part, np.dtype(np.float64))}
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return {name: a for key, value in inner for name, a in arrays(value, f"{place}/{key}").items()}


def packed(group, cases):
    """The bytes of a group's safetensors file."""
    from safetensors.numpy import save

    parts = [arrays({"inputs": case.inputs, "expected": case.expected}, case.id) for case in cases]
    metadata = {"kanref-golden": json.dumps({"version": VERSION, "group": group})}
    return save({name: a for part in parts for name, a in part.items()}, metadata)


def dumped(group, cases):
    """The text of a group's file: one case a line; definitions, which many cases share, stand in the head."""
    cases = list(cases)
    definitions = {case.operation: case.definition for case in cases}
    head = {"format": "kanref-golden", "version": VERSION, "group": group, "definitions": definitions}
    lines = (_text({key: value for key, value in vars(case).items() if key != "definition"}) for case in cases)
    return _text(head)[:-1] + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n"


def _text(part):
    """JSON with floats of 17 digits."""
    if isinstance(part, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_text(value)}" for key, value in part.items()) + "}"
    if isinstance(part, list | tuple):
        return "[" + ",".join(map(_text, part)) + "]"
    return decimal(part) if isinstance(part, float) else json.dumps(part)


def parsed(text, where="the file"):
    """The cases of a file's text. ValueError for other files and newer versions."""
    content = json.loads(text)
    if content.get("format") != "kanref-golden" or content.get("version") != VERSION:
        found = content.get("format"), content.get("version")
        raise ValueError(
            f"{where} must have format kanref-golden and version {VERSION}, but it has {found}; update kanref"
        )
    define = content["definitions"]
    return [
        Case(**{**case, "definition": define[case["operation"]], "routes": tuple(case["routes"])})
        for case in content["cases"]
    ]
