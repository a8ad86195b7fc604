"""The ledger: what libraries of KANs get wrong, as cases that can be run (`kanref ledger`).

row.py          what a case is
rows/           the cases, their right values with derivations, and kanref's
probes/         the same questions, put to other libraries; run under their interpreter
peers.py        who can be asked, and `ask`; worker.py is the process that answers
report.py       verdicts, as a table and as JSON
recorded.json   what the libraries answered when they were last asked
"""

import pkgutil
from importlib import import_module

from kanref.ledger import rows as modules
from kanref.ledger.row import Row

__all__ = ["Row", "rows"]


def rows():
    """All rows, by number."""
    found = [row for module in pkgutil.iter_modules(modules.__path__) for row in _of(module.name)]
    return tuple(sorted(found, key=lambda row: int(row.number[1:])))


def _of(module):
    return import_module(f"kanref.ledger.rows.{module}").ROWS
