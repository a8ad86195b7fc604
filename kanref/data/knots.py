"""Hyperbolic knots: geometry of the complement, and the signature (Davies et al., Nature 600, 70 (2021); Liu et al., 4.3).

    knots = data.knots.load()
    knots.X, knots.signature                 (59920, 6) geometric invariants, even numbers -8..10

Davies et al. and the KAN paper use DeepMind's table, which is not kanref's to ship. The one here was computed with SnapPy 3.3.2
from its census of prime knots with at most 14 crossings (59,937; the 17 left out are torus knots, which are not hyperbolic, or
failed to triangulate well), one row for each knot: `regenerate` has the recipe.

    name, crossings, alternating      census name; crossing number; 1 if alternating
    signature                         of the Seifert form V + V^T, positive minus negative eigenvalues
    determinant                       |det(V + V^T)|
    volume, chern_simons              of the hyperbolic complement
    cusp_volume                       of the maximal cusp
    longitudinal_translation          lambda, the length of the longitude on the maximal cusp, whose direction is the real axis
    meridional_translation_real       mu_r and mu_i, the meridian on the maximal cusp, a complex number
    meridional_translation_imag

`GEOMETRIC`, the last six, are what a network may see: as in the papers, whose seventeen invariants are geometric. Left out:
crossings and alternating describe a diagram, not the geometry; the determinant comes from the same Seifert form as the
signature and gives it away modulo 4. Of the six, one is a function of two others: cusp_volume = lambda mu_i/2.

Mutants, knots that differ by a turned tangle, share the geometry and the signature: the table has 54,005 different geometries.
Keep them together when splitting it (`Knots.families`), or a model is tested on what it has seen.

Theory: the natural slope Re(longitude/meridian) = lambda mu_r/(mu_r^2 + mu_i^2) is -2 times the signature up to a
bounded error (the sign is that of the table's orientation).
"""

import csv
import gzip
import os
from dataclasses import dataclass

import numpy as np

GEOMETRIC = (
    "volume",
    "chern_simons",
    "cusp_volume",
    "longitudinal_translation",
    "meridional_translation_real",
    "meridional_translation_imag",
)
CUSP_SHAPE = GEOMETRIC[3:]
COLUMNS = ("name", "crossings", "alternating", "signature", "determinant", *GEOMETRIC)
PATH = os.path.join(os.path.dirname(__file__), "knots.csv.gz")


@dataclass(frozen=True, eq=False)
class Knots:
    """A table of knots: name (N,), and of every other column an array (N,) in `columns`."""

    name: np.ndarray
    columns: dict[str, np.ndarray]

    def __len__(self):
        return len(self.name)

    def __getitem__(self, column):
        return self.columns[column]

    def inputs(self, columns=GEOMETRIC):
        """(N, len(columns))."""
        return np.column_stack([self.columns[column] for column in columns])

    @property
    def X(self):
        """The geometric invariants (N, 6), in the order of `GEOMETRIC`."""
        return self.inputs()

    @property
    def signature(self):
        """(N,) even integers."""
        return self.columns["signature"].astype(int)

    @property
    def classes(self):
        """The signatures that occur, in rising order."""
        return np.unique(self.signature)

    @property
    def labels(self):
        """(N,) position of each signature in `classes`."""
        return np.searchsorted(self.classes, self.signature)

    @property
    def families(self):
        """(N,) numbers of families of equal geometry, six digits after the point: mutants, mostly."""
        return np.unique(self.X.round(6), axis=0, return_inverse=True)[1].ravel()

    @property
    def slope(self):
        """Re(longitude/meridian), (N,)."""
        longitude, real, imag = self.inputs(CUSP_SHAPE).T
        return longitude * real / (real**2 + imag**2)


def load(path=PATH):
    """The table that comes with kanref, or another one of the same columns. Raises ValueError for other columns."""
    with gzip.open(path, "rt", newline="") as file:
        head, *rows = csv.reader(file)
    if tuple(head) != COLUMNS:
        raise ValueError(f"the columns of {path} must be {', '.join(COLUMNS)}, but they are {', '.join(head)}")
    name, *numbers = zip(*rows)
    columns = {column: np.array(cells, float) for column, cells in zip(COLUMNS[1:], numbers)}
    return Knots(np.array(name), columns)


def nearest_even(x):
    """The even integers nearest to x."""
    return 2 * np.rint(np.asarray(x) / 2).astype(int)


def regenerate(path, census=None):
    """Compute the table with SnapPy and write it to `path`; hours. `pip install snappy` first, else ImportError.

    census: manifolds, by default SnapPy's prime knots with at most 14 crossings. Knots without a solution of positively
    oriented tetrahedra are left out: they are not hyperbolic, or failed to triangulate well.
    """
    if census is None:
        try:
            import snappy
        except ImportError as error:
            raise ImportError(
                "the table is computed with SnapPy, which is not installed; `pip install snappy` first, or use the table "
                "that comes with kanref, kanref.data.knots.load()"
            ) from error
        census = (M for M in snappy.HTLinkExteriors(knots_vs_links="knots") if _crossings(M.name()) <= 14)
    rows = (_row(M) for M in census)
    lines = [",".join(COLUMNS), *(",".join(row) for row in rows if row)]
    with open(path, "wb") as file:
        file.write(gzip.compress("\n".join(lines).encode() + b"\n", mtime=0))


def _crossings(name):
    """12 of K12a345."""
    return int("".join(c if c.isdigit() else " " for c in name).split()[0])


def _row(M):
    """The table's cells of one manifold, None if it has no good hyperbolic structure."""
    if M.solution_type() != "all tetrahedra positively oriented":
        return None
    seifert = np.array(M.link().seifert_matrix(), float)
    eigenvalues = np.linalg.eigvalsh(seifert + seifert.T)
    signature = int((eigenvalues > 0).sum() - (eigenvalues < 0).sum())
    cusp = M.cusp_neighborhood()
    cusp.set_displacement(cusp.stopping_displacement())
    meridian, longitude = map(complex, cusp.all_translations()[0])
    geometry = (M.volume(), M.chern_simons(), cusp.volume(), longitude.real, meridian.real, meridian.imag)
    name = M.name()
    whole = (_crossings(name), int("a" in name), signature, round(abs(np.prod(eigenvalues))))
    return [name, *map(str, whole), *(f"{float(x):.10g}" for x in geometry)]
