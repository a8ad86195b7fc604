"""pytest --kanref-adapter PACKAGE.MODULE:NAME: every golden case a test of your own library, beside your own tests.

    pytest --kanref-adapter mylib.kanref_adapter              all groups in float64 and float32
    pytest --kanref-adapter mylib.kanref_adapter -k bspline   those whose names match
    pytest --kanref-adapter mylib.kanref_adapter --kanref-dtype float64

The adapter is looked for in the current folder, too. The tests are named kanref[GROUP/CASE-DTYPE]; what an adapter does not
offer is skipped, with the reason.
"""

import sys

import pytest

ADAPTER = pytest.StashKey()


class Mismatch(Exception):
    """A case that an adapter answers wrongly."""


class Question(pytest.Item):
    """One case in one precision."""

    def __init__(self, *, case, dtype, adapter, **options):
        super().__init__(**options)
        self.case, self.dtype, self.adapter = case, dtype, adapter

    def runtest(self):
        from kanref.golden.conformance import examine

        outcome = examine(self.adapter, self.case, self.dtype)
        if outcome.status == "not offered":
            pytest.skip(outcome.why or f"the adapter does not offer {self.case.operation}")
        if outcome.status == "failed":
            raise Mismatch(outcome.why)

    def repr_failure(self, excinfo):
        if not isinstance(excinfo.value, Mismatch):
            return super().repr_failure(excinfo)
        return f"{self.case.id} in {self.dtype}\n{excinfo.value}\n\n{self.case.operation}: {self.case.definition}"

    def reportinfo(self):
        return self.path, None, self.name


def pytest_addoption(parser):
    group = parser.getgroup("kanref", "conformance of a Kolmogorov-Arnold network library")
    group.addoption("--kanref-adapter", metavar="MODULE:NAME", help="run kanref's golden vectors through this adapter")
    group.addoption("--kanref-dtype", choices=("float64", "float32"), help="in one precision only")


def pytest_configure(config):
    """Loads the adapter here, so that a wrong name is told under pytest -n, too: nobody hears the processes that collect."""
    if name := config.getoption("--kanref-adapter"):
        from kanref.golden.conformance import load

        sys.path.insert(0, str(config.invocation_params.dir))
        try:
            config.stash[ADAPTER] = load(name)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(session, config, items):
    if ADAPTER not in config.stash:
        return
    from kanref import golden
    from kanref.golden.conformance import DTYPES

    adapter, dtype = config.stash[ADAPTER], config.getoption("--kanref-dtype")
    for case in (case for group in golden.groups() for case in golden.load(group)):
        for precision in [dtype] if dtype else DTYPES:
            options = {"name": f"kanref[{case.id}-{precision}]", "case": case, "dtype": precision, "adapter": adapter}
            items.append(Question.from_parent(session, **options))
