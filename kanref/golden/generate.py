"""Making the files: all groups in order, the text of each, bit for bit the same on every machine."""

from collections.abc import Iterator
from itertools import islice

from kanref.golden import FOLDER, derivatives, functions, grids, networks, optimisers, scores, splines, tensors
from kanref.golden.case import Case, dumped, packed
from kanref.io import write_atomically

GENERATORS = {
    group: generator
    for family in (splines, functions, networks, derivatives, grids, scores, tensors, optimisers)
    for group, generator in family.GROUPS.items()
}


def cases(group, count=None) -> Iterator[Case]:
    """The cases of a group, computed anew; the first `count` of them."""
    return islice(GENERATORS[group](), count)


def write(groups=None, folder=FOLDER):
    """Compute groups, all for None, and write their files; yields (group, number of cases, bytes of both) after each."""
    for group in groups or GENERATORS:
        made = list(cases(group))
        files = {"json": dumped(group, made).encode(), "safetensors": packed(group, made)}
        for suffix, data in files.items():
            write_atomically(folder / f"{group}.{suffix}", data)
        yield group, len(made), sum(map(len, files.values()))
