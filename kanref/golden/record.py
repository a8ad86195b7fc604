"""How generators write a case down."""

from kanref.golden.case import Case, encoded
from kanref.golden.exact import rationals
from kanref.golden.protocol import OPERATIONS


def case(group, name, operation, inputs, expected, *, call, ulps, routes, single=None):
    """A `Case` from exact inputs and expected numbers of any exact kind. ulps: in float64, and in float32 unless `single`."""
    return Case(
        f"{group}/{name}",
        group,
        operation,
        OPERATIONS[operation].definition,
        call,
        encoded(inputs),
        encoded({key: rationals(value) for key, value in expected.items()}),
        {"float64": ulps, "float32": single or ulps},
        tuple(routes),
    )
