"""The table of knots: what the columns are, and the theory's accuracy on them."""

import gzip
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref.data import knots


@pytest.fixture(scope="module")
def table():
    return knots.load()


def test_the_table_is_what_its_description_says(table):
    assert len(table) == 59920 and len(set(table.name)) == 59920
    assert_array_equal(table.classes, np.arange(-8, 11, 2))
    assert_array_equal(table.classes[table.labels], table.signature)
    assert table.X.shape == (59920, 6) and np.isfinite(table.X).all()
    assert abs((table.signature == 0).mean() - 0.267) < 1e-3
    assert table["crossings"].max() == 14


def test_the_figure_eight_and_the_knot_5_2(table):
    four, five = table.name == "K4a1", table.name == "K5a1"
    assert_allclose(table["volume"][four], 2.029883212819307, rtol=1e-9)
    assert_allclose(table["cusp_volume"][four], 3**0.5, rtol=1e-9)
    assert_allclose(table["longitudinal_translation"][four], 2 * 3**0.5, rtol=1e-9)
    assert_allclose(table["volume"][five], 2.828122088330783, rtol=1e-9)
    assert table.signature[four] == 0 and abs(table.signature[five]) == 2
    assert table["determinant"][four] == 5 and table["determinant"][five] == 7


def test_determinants_give_signatures_away_modulo_four(table):
    # why the determinant is no input: |det| = 1 or 3 mod 4 as the signature is 0 or 2 mod 4
    assert_array_equal(table["determinant"] % 4 == 3, table.signature % 4 == 2)


def test_cusp_volume_is_half_the_area(table):
    longitude, _, imag = table.inputs(knots.CUSP_SHAPE).T
    assert_allclose(table["cusp_volume"], longitude * imag / 2, rtol=1e-7)


def test_mutants_share_geometry_and_signature(table):
    family, signature = table.families, table.signature
    assert family.max() + 1 == 54005
    lowest, highest = np.full(54005, 99), np.full(54005, -99)
    np.minimum.at(lowest, family, signature)
    np.maximum.at(highest, family, signature)
    assert_array_equal(lowest, highest)


def test_slope_predicts_signatures(table):
    right = knots.nearest_even(-table.slope / 2) == table.signature
    assert abs(right.mean() - 0.762) < 5e-4
    assert abs(np.corrcoef(table.slope, table.signature)[0, 1] + 0.972) < 5e-4


def test_mirror_images_of_the_figure_eight_balance(table):
    amphichiral = table.name == "K4a1"
    assert abs(table.slope[amphichiral][0]) < 1e-12 and abs(table["chern_simons"][amphichiral][0]) < 1e-12


def test_nearest_even():
    assert_array_equal(knots.nearest_even([-3.2, -0.9, 0.9, 1.1, 6.99]), [-4, 0, 0, 2, 6])


def test_other_tables_are_refused(tmp_path):
    path = tmp_path / "other.csv.gz"
    path.write_bytes(gzip.compress(b"name,genus\nK3a1,1\n"))
    with pytest.raises(ValueError, match="columns of .*other.csv.gz must be name, crossings.*but they are name, genus"):
        knots.load(path)


def test_regenerating_needs_snappy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "snappy", None)
    with pytest.raises(ImportError, match="pip install snappy.*kanref.data.knots.load"):
        knots.regenerate(tmp_path / "knots.csv.gz")


class Manifold:
    """What `regenerate` asks of SnapPy, answered with textbook numbers."""

    def __init__(self, name, seifert, volume, longitude, meridian, solution="all tetrahedra positively oriented"):
        self.seifert, self.geometry, self.translations = seifert, volume, (meridian, longitude)
        self.displacement, self.called, self.solution = None, name, solution

    def name(self):
        return self.called

    def solution_type(self):
        return self.solution

    def link(self):
        return self

    def seifert_matrix(self):
        return self.seifert

    def volume(self):
        return self.geometry

    def chern_simons(self):
        return 0.0

    def cusp_neighborhood(self):
        return Cusp(self)


class Cusp:
    def __init__(self, manifold):
        self.manifold, self.scale = manifold, 0.5

    def stopping_displacement(self):
        return 1.0

    def set_displacement(self, displacement):
        self.scale = displacement

    def all_translations(self):
        return [tuple(self.scale * v for v in self.manifold.translations)]

    def volume(self):
        meridian, longitude = self.all_translations()[0]
        return longitude * meridian.imag / 2


def test_regenerated_rows_are_the_tables(tmp_path, table):
    figure_eight = Manifold("K4a1", [[-1, 1], [0, 1]], 2.029883212819307, 2 * 3**0.5, 1j)
    trefoil = Manifold("K3a1", [[-1, 1], [0, -1]], 0.0, 0.0, 0j, solution="contains degenerate tetrahedra")
    path = tmp_path / "knots.csv.gz"
    knots.regenerate(path, [trefoil, figure_eight])
    made = knots.load(path)
    assert list(made.name) == ["K4a1"]
    for column in knots.COLUMNS[1:]:
        assert_allclose(made[column], table[column][:1], rtol=1e-9, atol=1e-9, err_msg=column)
