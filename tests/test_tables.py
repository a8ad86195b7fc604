"""Tables: every message, every decision, and that arrays and files give back what went in."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from kanref.tables import Schema, Table, TableError, fit_schema, read_csv, split, write_csv


def table_of(**columns):
    """A table as `read_csv` would give it: row i stands on line i + 2."""
    cells = tuple(tuple(str(cell) for cell in column) for column in columns.values())
    return Table(tuple(columns), cells, tuple(range(2, 2 + len(cells[0]))))


def reading(tmp_path, content):
    path = tmp_path / "data.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(path)


def column_of(schema, name):
    return next(c for c in schema.columns if c.name == name)


def counts(encoded):
    return {(note.column, note.count) for note in encoded.report}


MIXED = table_of(
    age=[30, "", 50, 40, "n/a", 35],
    colour=["red", "blue", "red", "green", "?", "blue"],
    id=["u1", "u2", "u3", "u4", "u5", "u6"],
    lab=["A"] * 6,
    y=[1.5, 2.5, "NaN", 4.25, 3.0, 0.1],
)


# Reading


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_read_delimiters_line_ends_and_bom(tmp_path, delimiter, end, bom):
    rows = ["", "x|größe|note", " 1 |2|a", "", "3|4|"]
    table = reading(tmp_path, bom + end.join(rows).replace("|", delimiter).encode())
    assert table.names == ("x", "größe", "note")
    assert table.columns == (("1", "3"), ("2", "4"), ("a", ""))
    assert table.lines == (3, 5)


def test_read_quotes_commas_newlines_and_their_line_numbers(tmp_path):
    text = 'name,"pressure; bar","a ""q"""\n"x, y","first\nsecond",1\nplain, "2",3\n'
    table = reading(tmp_path, text)
    assert table.names == ("name", "pressure; bar", 'a "q"')
    assert table.columns == (("x, y", "plain"), ("first\nsecond", "2"), ("1", "3"))
    assert table.lines == (2, 4)


@pytest.mark.parametrize("header, row, names", [
    ("T, C\tp; bar", "1\t2", ("T, C", "p; bar")),
    ("T, C;p", "1;2", ("T, C", "p")),
    ('"T; C",p', "1,2", ("T; C", "p")),
    ('\n"T\t\n; C",p', "1,2", ("T\t\n; C", "p")),
    ("a,b", '"1;2","3\t4"', ("a", "b")),
    ("only", "1", ("only",)),
])
def test_delimiter_is_decided_by_the_header_outside_quotes(tmp_path, header, row, names):
    assert reading(tmp_path, f"{header}\n{row}\n").names == names


def test_blank_cells_of_a_single_column_are_rows_only_if_quoted(tmp_path):
    assert reading(tmp_path, 'x\n1\n\n""\n2\n').columns == (("1", "", "2"),)


@pytest.mark.parametrize("content, message", [
    ("", "is empty: expected a header line"),
    ("\n \n", "is empty: expected a header line"),
    ("a,b\n\n", r"has a header \(a, b\) but no rows"),
    ("a,b,a\n1,2,3\n", "occur more than once: 'a'; rename"),
    (",a,b\n0,1,2\n", "column 1 has no name in the header.*index column"),
    ("a,b,\n0,1,\n", "column 3 has no name in the header.*trailing delimiter"),
    ("a,b\n1,2\n\n1,2,3\n", r"line 4: 3 fields, but the header has 2 \(delimiter ','\)"),
    ("a;b\n1,2\n", r"line 2: 1 fields, but the header has 2 \(delimiter ';'\)"),
    ("1.5,2,-3e4\n1,2,3\n", "first line .*'1.5', '2'.* holds numbers.*no header; add a line"),
    ("a,b\n1,é\n".encode("latin-1"), "line 2: byte 0xe9 is not UTF-8; save the file as 'CSV UTF"),
    ("a,b\n1,2\n".encode("utf-16"), "contains NUL bytes.*export it as 'CSV UTF-8'"),
    (b"PK\x03\x04\x00\x00", "contains NUL bytes: it is binary"),
    ('a,b\n1,2\n3,"4\n5,6\n', "record at line 3: unexpected end of data; check the quotes"),
    ('a,b\n"1"x,2\n', "record at line 2: .* expected after .*; check the quotes"),
])
def test_read_refuses(tmp_path, content, message):
    with pytest.raises(TableError, match=message):
        reading(tmp_path, content)


def test_read_refuses_absent_files_and_directories(tmp_path):
    with pytest.raises(TableError, match="cannot read .*absent.csv.*: No such file"):
        read_csv(tmp_path / "absent.csv")
    with pytest.raises(TableError, match="cannot read .* as a CSV file: Is a directory"):
        read_csv(tmp_path)


def test_table_error_is_a_value_error():
    assert issubclass(TableError, ValueError)


# Writing


def test_write_then_read_gives_back_names_text_and_every_bit_of_floats(tmp_path):
    floats = np.array([0.1, 1 / 3, -1e-310, 1.7976931348623157e308, 2.0**53 + 2])
    texts = ["a,b", 'say "x"', "two\nlines", "carriage\rreturn", "; tab\t"]
    path = tmp_path / "out.csv"
    write_csv(path, ["v; w", "text", "n"], [floats, texts, np.arange(5)])
    table = read_csv(path)
    assert table.names == ("v; w", "text", "n")
    assert_array_equal(np.array(table.columns[0], dtype=float), floats)
    assert table.columns[1] == tuple(text.strip() for text in texts)
    assert table.columns[2] == ("0", "1", "2", "3", "4")


def test_write_uses_the_shortest_digits_and_accepts_numpy_scalars(tmp_path):
    write_csv(tmp_path / "o.csv", ("a", "b"), ([np.float64(0.1), 2.0], ["", "x"]))
    assert (tmp_path / "o.csv").read_bytes() == b'a,b\n0.1,""\n2.0,x\n'


def test_write_is_atomic_and_leaves_no_partial_file(tmp_path):
    class Unprintable:
        def __str__(self):
            raise RuntimeError("in the middle")

    path = tmp_path / "o.csv"
    write_csv(path, ("a",), ([1],))
    with pytest.raises(RuntimeError, match="in the middle"):
        write_csv(path, ("a",), ([2, Unprintable()],))
    assert path.read_text() == "a\n1\n"
    assert [p.name for p in tmp_path.iterdir()] == ["o.csv"]


def test_write_refuses(tmp_path):
    with pytest.raises(TableError, match=r"2 names need .* lengths \[2, 1\]"):
        write_csv(tmp_path / "o.csv", ("a", "b"), ([1, 2], [1]))
    with pytest.raises(TableError, match=r"2 names need .* lengths \[2\]"):
        write_csv(tmp_path / "o.csv", ("a", "b"), ([1, 2],))
    with pytest.raises(TableError, match="cannot write .*absent.*: No such file or directory"):
        write_csv(tmp_path / "absent" / "o.csv", ("a",), ([1],))
    with pytest.raises(TableError, match="cannot write .*: Is a directory"):
        (tmp_path / "folder").mkdir()
        write_csv(tmp_path / "folder", ("a",), ([1],))


# Inputs


def test_every_column_is_decided_and_the_reason_recorded():
    schema = fit_schema(MIXED, "y")
    assert [(c.name, c.kind) for c in schema.columns] == [
        ("age", "numeric"), ("colour", "categorical"), ("id", "dropped"), ("lab", "dropped")]
    assert "2 missing, filled with the median 35 and" in column_of(schema, "age").why
    assert column_of(schema, "colour").levels == ("(missing)", "blue", "green", "red")
    assert "differs in every row" in column_of(schema, "id").why
    assert "constant in the training rows (A)" in column_of(schema, "lab").why
    assert schema.inputs == ("age", "colour")
    assert schema.feature_names == ("age", "age (missing)", "colour=(missing)", "colour=blue",
                                    "colour=green", "colour=red")


def test_encode_is_the_stated_map():
    data = fit_schema(MIXED, "y").encode(MIXED)
    assert_array_equal(data.rows, [0, 1, 3, 4, 5])
    assert_array_equal(data.lines, [2, 3, 5, 6, 7])
    assert_allclose(data.X, [[-1, 0, 0, 0, 0, 1], [0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 1, 0],
                             [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]], atol=1e-15)
    y = np.array([1.5, 2.5, 4.25, 3.0, 0.1])
    assert_allclose(data.y, (y - y.mean()) / y.std(), rtol=1e-14)
    assert counts(data) == {("y", 1), ("age", 2)}
    assert "age: 2 missing, filled with the median" in map(str, data.report)
    assert "y: 1 rows without it left out" in map(str, data.report)


@pytest.mark.parametrize("token", ["", "NA", "n/a", "NaN", "-nan", "NULL", "?"])
def test_missing_tokens(token):
    schema = fit_schema(table_of(x=[1, token, 3], c=["u", token, "u"], y=[1, 2.5, 3]), "y")
    assert schema.feature_names == ("x", "x (missing)", "c=(missing)", "c=u")
    assert column_of(schema, "x").fill == 2


def test_a_number_that_is_present_or_missing_leaves_its_indicator():
    table = table_of(flag=[1, "", 1.0, ""], y=[1, 2, 3, 4.5])
    schema = fit_schema(table, "y")
    assert schema.feature_names == ("flag (missing)",)
    assert_array_equal(schema.encode(table).X, [[0], [1], [0], [1]])


def test_missing_numbers_become_the_median_of_the_training_rows():
    table = table_of(x=[0, 1, "", 10, 1000], y=[1, 2, 3.5, 4, 5])
    schema = fit_schema(table, "y", train_rows=[0, 1, 2, 3])
    assert column_of(schema, "x").fill == 1
    assert schema.encode(table).X[2].tolist() == [-0.8, 1]


@pytest.mark.parametrize("cells, kind, why", [
    (["7"] * 60, "dropped", r"constant in the training rows \(7\)"),
    (["1", "1.0"] * 30, "dropped", "constant in the training rows"),
    (["", "NA"] * 30, "dropped", "no value in the training rows"),
    ([f"s{i // 2}" for i in range(60)], "categorical", "30 levels$"),
    ([f"s{min(i, 49)}" for i in range(60)], "categorical", "50 levels$"),
    ([f"s{min(i, 50)}" for i in range(60)], "dropped", "51 levels; more than 50"),
    ([f"{i}" for i in range(48)] + ["<5"] * 12, "categorical", "80% of the values are numbers"),
    ([f"{i % 7} mm" for i in range(60)], "categorical", "7 levels$"),
    (["1_0", "2_0"] * 30, "categorical", "2 levels$"),
    ([f"{i % 7}e-3" for i in range(60)], "numeric", r"numbers in \[0, 0.006\]$"),
])
def test_kinds(cells, kind, why):
    schema = fit_schema(table_of(c=cells, x=range(60), y=np.linspace(0, 1, 60)), "y")
    column = column_of(schema, "c")
    assert column.kind == kind
    with pytest.raises(ValueError, match=why):
        raise ValueError(column.why)


@pytest.mark.parametrize("cell, message", [
    ("twelve", r"column 'c', line 7: 'twelve' is not a number \(decimal point"),
    ("12 mm", "'12 mm' is not a number .*no units.*; correct it, or leave the cell empty"),
    ("1,5", "'1,5' is not a number .*decimal point"),
    ("1_000", "'1_000' is not a number"),
    ("inf", "column 'c', line 7: 'inf' is infinite or beyond 1e"),
    ("-Infinity", "is infinite or beyond"),
    ("1e400", "is infinite or beyond"),
    ("-2e300", "is infinite or beyond"),
])
def test_one_dirty_cell_is_named(cell, message):
    cells = list(range(20))
    cells[5] = cell
    clean = table_of(c=range(20), y=np.linspace(0, 1, 20))
    dirty = table_of(c=cells, y=np.linspace(0, 1, 20))
    for act in (lambda: fit_schema(dirty, "y"), lambda: fit_schema(clean, "y").encode(dirty),
                lambda: fit_schema(dirty, "y", train_rows=[0, 1, 2, 3]).encode(dirty),
                lambda: fit_schema(table_of(x=range(20), c=cells), "c")):
        with pytest.raises(TableError, match=message):
            act()


@pytest.mark.parametrize("cells", [["1,5", "2,25", "3,0"], ["1,234,567", "1,000", "12"]])
def test_decimal_commas_and_thousands_separators_are_refused_not_guessed(cells):
    with pytest.raises(TableError, match=f"line 2: '{cells[0]}' is not a number .decimal point"):
        fit_schema(table_of(c=cells, x=[1, 2, 3], y=[1, 2, 3.5]), "y")


def test_exactly_ninety_percent_of_numbers_is_text_and_more_is_dirty():
    y = np.linspace(0, 1, 20)
    text = table_of(c=["low", "low", *range(18)], x=range(20), y=y)
    assert column_of(fit_schema(text, "y"), "c").kind == "categorical"
    with pytest.raises(TableError, match="line 2: 'low'"):
        fit_schema(table_of(c=["low", *range(19)], x=range(20), y=y), "y")


def test_training_rows_alone_decide_and_the_rest_is_counted():
    table = table_of(x=[0, 10, 5, 20, -5, ""], c=["a", "b", "a", "z", "", "z"],
                     y=[1.0, 2.0, 4.5, 100, 200, 300])
    schema = fit_schema(table, "y", train_rows=[0, 1, 2])
    assert schema.mean == 2.5
    assert schema.feature_names == ("x", "c=a", "c=b")
    data = schema.encode(table)
    assert_allclose(data.X, [[-1, 1, 0], [1, 0, 1], [0, 1, 0], [3, 0, 0], [-2, 0, 0], [0, 0, 0]])
    assert [str(note) for note in data.report] == [
        "x: 1 missing, filled with the median", "x: 2 outside the training range",
        "c: 3 with levels unseen in training ('(missing)', 'z'), encoded as zeros"]


def test_a_value_beyond_all_scale_is_refused_rather_than_infinite():
    schema = fit_schema(table_of(x=[0, 1e-20, 2e-20], y=[1, 2, 3.5]), "y")
    with pytest.raises(TableError, match="'x', line 2: '1e299' is too far outside the training"):
        schema.encode(table_of(x=["1e299"]))


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e299])
def test_training_rows_are_encoded_within_the_unit_interval(scale):
    rng = np.random.default_rng(1)
    for _ in range(20):
        x = rng.standard_cauchy(50).clip(-9, 9) * scale
        table = table_of(x=x, y=rng.normal(size=50))
        X = fit_schema(table, "y").encode(table).X
        assert X.min() == -1 and X.max() == 1


def test_encode_is_deterministic_and_ignores_other_columns_and_their_order():
    schema = fit_schema(MIXED, "y")
    names = ("colour", "new", "age")
    new = Table(names, (MIXED.columns[1], ("k",) * 6, MIXED.columns[0]), MIXED.lines)
    first, again, other = schema.encode(MIXED), schema.encode(MIXED), schema.encode(new)
    assert first.X.tobytes() == again.X.tobytes() and first.y.tobytes() == again.y.tobytes()
    assert fit_schema(MIXED, "y") == schema
    assert other.y is None
    assert_array_equal(other.rows, range(6))
    assert_array_equal(other.X[first.rows], first.X)
    assert first.X.dtype == np.float64 and first.X.flags.c_contiguous


def test_unlabelled_encoding_keeps_rows_whose_target_is_missing_or_nonsense():
    schema = fit_schema(MIXED, "y")
    new = table_of(age=[31, 32], colour=["red", "red"], y=["", "unknown"])
    data = schema.encode(new, labelled=False)
    assert data.y is None and data.X.shape == (2, 6) and data.report == ()
    with pytest.raises(TableError, match="'y', line 3: 'unknown' is not a number"):
        schema.encode(new)
    with pytest.raises(TableError, match="target 'y' is missing in every row; labelled=False"):
        schema.encode(table_of(age=[31], colour=["red"], y=["NA"]))


def test_a_lacking_column_is_named():
    with pytest.raises(TableError, match="table lacks 'colour', which .* columns are 'age', 'z'"):
        fit_schema(MIXED, "y").encode(table_of(age=[1], z=[2]))


# Targets


@pytest.mark.parametrize("y, task, why", [
    (["no", "yes"] * 6, "classification", "text with 2 labels"),
    ([3, 1, 2] * 4, "classification", "only 3 values, all integers; ask for task='regression'"),
    ([i % 10 for i in range(12)], "classification", "10 values"),
    ([i % 11 for i in range(12)], "regression", "11 distinct numbers"),
    ([1, 2, 2.5] * 4, "regression", "3 distinct numbers"),
])
def test_auto_task(y, task, why):
    schema = fit_schema(table_of(x=range(12), y=y), "y")
    assert schema.task == task and why in schema.why


def test_a_handful_of_different_integers_is_regression():
    assert fit_schema(table_of(x=[1, 2, 3], y=[1, 2, 3]), "y").task == "regression"


def test_the_task_can_be_asked_for():
    table = table_of(x=range(6), y=[0, 1.5, 10, 0, 1.5, 10])
    number = fit_schema(table, "y", task="regression")
    assert number.task == "regression" and number.why == "as asked for"
    label = fit_schema(table, "y", task="classification")
    assert label.labels == ("0", "1.5", "10")
    assert_array_equal(label.encode(table).y, [0, 1, 2, 0, 1, 2])
    mixed = table_of(x=range(24), y=[*range(11), "A"] * 2)
    assert fit_schema(mixed, "y", task="classification").labels[-1] == "A"


def test_labels_are_sorted_by_value_keep_their_spelling_and_match_by_value():
    schema = fit_schema(table_of(x=range(6), y=["10", "9", "02", "10", "9", "2"]), "y")
    assert schema.labels == ("02", "9", "10")
    assert_array_equal(schema.encode(table_of(x=[1, 2], y=["2.0", "1e1"])).y, [0, 2])


def test_text_labels_round_trip_and_unseen_ones_are_refused():
    table = table_of(x=range(6), y=["b", "a", "", "c", "a", "b"])
    schema = fit_schema(table, "y")
    data = schema.encode(table)
    assert schema.labels == ("a", "b", "c")
    assert data.y.dtype.kind == "i"
    assert schema.decode(data.y).tolist() == ["b", "a", "c", "a", "b"]
    with pytest.raises(TableError, match="'y', line 2: 'd' is none of .* labels 'a', 'b', 'c'"):
        schema.encode(table_of(x=[1], y=["d"]))
    numeric = fit_schema(table_of(x=range(4), y=[0, 1, 0, 1]), "y")
    with pytest.raises(TableError, match="'y', line 3: 'd' is none of .* labels '0', '1'"):
        numeric.encode(table_of(x=[1, 2], y=["1", "d"]))


@pytest.mark.parametrize("codes", [[3], [-1], [0.0], [True]])
def test_decode_refuses_what_is_no_code(codes):
    schema = fit_schema(table_of(x=range(6), y=list("abcabc")), "y")
    with pytest.raises(TableError, match=r"codes must be integers in 0\.\.2, got"):
        schema.decode(codes)


@pytest.mark.parametrize("offset, scale", [(0, 1), (1e6, 1), (0, 1e-200), (3e299, 1e299)])
def test_decode_inverts_encode_to_rounding(offset, scale):
    rng = np.random.default_rng(2)
    y = offset + scale * rng.normal(size=200)
    table = table_of(x=range(200), y=y)
    schema = fit_schema(table, "y", train_rows=np.arange(150))
    data = schema.encode(table)
    assert_allclose(data.y[:150].mean(), 0, atol=1e-8)
    assert_allclose(data.y[:150].std(), 1, rtol=1e-12)
    bound = 4 * np.finfo(float).eps * np.abs(y).max()
    assert_allclose(schema.decode(data.y), y, rtol=0, atol=bound)


# Refusals of fit_schema


@pytest.mark.parametrize("target, options, message", [
    ("Agee", {}, r"target 'Agee' is not a column; the closest is 'age' among 'age', 'colour', "),
    ("y", {"drop": ["COLOR"]}, "drop 'COLOR' is not a column; the closest is 'colour' among"),
    ("y", {"drop": "colour"}, "drop must be a sequence of column names .*, got 'colour'"),
    ("y", {"drop": ["y"]}, "drop must be .* other than the target 'y', got"),
    ("y", {"task": "rank"}, "task must be 'auto', 'regression' or 'classification', got 'rank'"),
    ("y", {"train_rows": [0, 6]}, r"train_rows must be row indices in 0\.\.5, got"),
    ("y", {"train_rows": [-1, 0, 1]}, "train_rows must be row indices"),
    ("y", {"train_rows": [True] * 6}, "train_rows must be row indices"),
    ("y", {"train_rows": [0, 1, 2]}, "only 2 training rows have a target 'y'; at least 3"),
    ("lab", {}, r"target 'lab' is constant \(A\) in the training rows"),
    ("lab", {"task": "regression"}, "column 'lab', line 2: 'A' is not a number"),
    ("id", {}, "every row has its own label in the target 'id' .*'u1'"),
    ("y", {"drop": ["age", "colour"]}, "no input column is left beside .*'age': on request; .*id"),
])
def test_fit_refuses(target, options, message):
    with pytest.raises(TableError, match=message):
        fit_schema(MIXED, target, **options)


def test_fit_refuses_too_many_text_labels_unless_asked():
    table = table_of(x=range(104), y=[f"{i // 2} mm" for i in range(104)])
    with pytest.raises(TableError, match="'y' is text with 52 labels .*'0 mm'.*, more than 50"):
        fit_schema(table, "y")
    assert len(fit_schema(table, "y", task="classification").labels) == 52


def test_fit_refuses_features_of_one_name():
    table = Table(("a", "a (missing)", "y"),
                  (("1", "", "3"), ("1", "2", "3"), ("1", "2", "3")), (2, 3, 4))
    with pytest.raises(TableError, match=r"several features would be named 'a \(missing\)'"):
        fit_schema(table, "y")


# JSON


@pytest.mark.parametrize("target", ["y", "colour"])
def test_schema_survives_json_exactly(target):
    schema = fit_schema(MIXED, target)
    data = schema.to_json()
    again = json.loads(json.dumps(data, allow_nan=False))
    assert again == data
    assert Schema.from_json(again) == schema
    assert data["version"] == 1
    one, two = schema.encode(MIXED), Schema.from_json(again).encode(MIXED)
    assert one.X.tobytes() == two.X.tobytes() and one.y.tobytes() == two.y.tobytes()


@pytest.mark.parametrize("version", [{}, {"version": 2}])
def test_another_schema_version_is_refused(version):
    data = fit_schema(MIXED, "y").to_json()
    del data["version"]
    with pytest.raises(TableError, match="schema version .* is not the known version 1"):
        Schema.from_json(data | version)


@pytest.mark.parametrize("change", [{"columns": [{"name": "x"}]}, {"labels": None}, {"k": 1}])
def test_a_dict_that_is_no_schema_is_refused(change):
    with pytest.raises(TableError, match="not a schema: "):
        Schema.from_json(fit_schema(MIXED, "y").to_json() | change)


# Splitting


@pytest.mark.parametrize("n, sizes", [(5, (3, 1, 1)), (20, (14, 3, 3)), (101, (71, 15, 15))])
@pytest.mark.parametrize("strata", [None, "one", "two"])
def test_split_covers_everything_once_in_the_stated_sizes(n, sizes, strata):
    classes = {None: None, "one": ["k"] * n, "two": np.arange(n) % 2}[strata]
    parts = split(n, 3, strata=classes)
    assert tuple(map(len, parts)) == sizes
    assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))


def test_split_is_a_function_of_the_seed():
    one, two, other = split(50, 7), split(50, 7), split(50, 8)
    for a, b in zip(one, two, strict=True):
        assert_array_equal(a, b)
    assert set(one[1]) != set(other[1])


def test_split_takes_any_fractions_and_each_row_equally_often():
    hits = np.zeros(10)
    for seed in range(400):
        train, test = split(10, seed, (0.8, 0.2))
        assert len(train) == 8
        hits[test] += 1
    assert_allclose(hits / 400, 0.2, atol=0.08)


@pytest.mark.parametrize("seed", range(5))
def test_strata_are_in_proportion_and_all_in_the_first_part(seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(["a", "b", "c", "d"], [100, 60, 39, 1]))
    parts = split(200, seed, strata=labels)
    for part, share in zip(parts, (0.7, 0.15, 0.15), strict=True):
        for label, n in zip("abc", (100, 60, 39), strict=True):
            assert abs(np.sum(labels[part] == label) - n * share) <= 2
    assert "d" in labels[parts[0]]


@pytest.mark.parametrize("args, message", [
    ((3, 0), r"3 rows in fractions .* parts of \[2, 1, 0\] rows and none may be empty: give more"),
    ((0, 0), "0 rows in fractions"),
    ((10, 0, (0.5, 0.6)), "fractions must be positive and add up to 1, got"),
    ((10, 0, (1.0, 0.0)), "fractions must be positive"),
    ((10, 0, (0.5, 0.5), [1, 2]), "strata must have one label for each of 10 rows, got 2"),
    ((10, 0, (0.5, 0.5), list("abcdefghij")), "first part has 5 rows, too few for 10 classes"),
])
def test_split_refuses(args, message):
    with pytest.raises(ValueError, match=message):
        split(*args)


def test_the_whole_way_from_file_to_file(tmp_path):
    rng = np.random.default_rng(0)
    x, kind = rng.uniform(-3, 3, 60), rng.choice(["s", "t"], 60)
    labels = np.where(x + (kind == "s") > 0, "high", "low")
    write_csv(tmp_path / "in.csv", ("x", "kind", "label"), (x, kind, labels))
    table = read_csv(tmp_path / "in.csv")
    first = fit_schema(table, "label")
    whole = first.encode(table)
    train, valid, test = split(len(whole.y), 0, strata=whole.y)
    schema = fit_schema(table, "label", task=first.task, train_rows=whole.rows[train])
    data = schema.encode(table)
    assert np.abs(data.X[train]).max() == 1
    assert schema.decode(data.y).tolist() == labels.tolist()
    assert set(data.y[train]) == set(data.y[valid]) == set(data.y[test]) == {0, 1}
    write_csv(tmp_path / "out.csv", ("line", "label"), (data.lines, schema.decode(data.y)))
    assert read_csv(tmp_path / "out.csv").columns[1] == tuple(labels)
