"""From a user's CSV file to arrays for a network, and back.

    table   = read_csv("data.csv")                        # text cells and their line numbers
    first   = fit_schema(table, "y")                      # decides the task, on all rows
    whole   = first.encode(table)                         # the rows that have a target
    classes = whole.y if first.task == "classification" else None
    train, valid, test = split(len(whole.y), seed, strata=classes)
    schema  = fit_schema(table, "y", task=first.task, train_rows=whole.rows[train])
    data    = schema.encode(table)                        # data.X[train], data.y[train], ...
    schema.decode(outputs)                                # in the user's units, or labels

Whatever is learnt from data (ranges, medians, levels, mean) is learnt from the training rows only.

The cells "", NA, N/A, nan, null and ? (any case) are missing. A column is **numeric** when all
other training cells are numbers to `float`: decimal point, no thousands separators, underscores
or units. When more than 90% of them are, or would be without their commas, the column is dirty:
the first offending cell is refused by line, and a decimal comma is never guessed. Any other
column is text: **categorical**, or **dropped** for a reason that is recorded.
"""

import difflib
import io
import json
import os
import re
from collections import Counter
from csv import Error as CSVError
from csv import reader
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

MISSING = frozenset({"", "na", "n/a", "nan", "+nan", "-nan", "null", "?"})
MISSING_LEVEL = "(missing)"
HUGE = 1e300
MAX_LEVELS = 50
MAX_INTEGER_CLASSES = 10
MIN_ROWS = 3
VERSION = 1


class TableError(ValueError):
    """Data that cannot be used as they stand; the message says where and how to mend them."""


@dataclass(frozen=True)
class Table:
    """Text cells by column: `columns[j][i]` stands in row i, which begins at line `lines[i]`."""

    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def __len__(self):
        return len(self.lines)

    def take(self, name, rows):
        """`name`, the cells of that column in `rows` (object array), and their line numbers."""
        cells = np.array(self.columns[self.names.index(name)], dtype=object)
        return name, cells[rows], np.array(self.lines)[rows]


def read_csv(path):
    """Read a UTF-8 CSV file (RFC 4180) with a header line into a `Table`.

    The delimiter is the first of tab, semicolon, comma that occurs in the header outside quotes:
    names do contain commas, hardly ever tabs. Blank lines are skipped and the white space around
    cells is removed. Raises `TableError` for a file that is absent, not text, not UTF-8 or empty,
    for a header with empty, repeated or only numeric names, and for rows of another length.
    """
    text = _read_text(path)
    head = re.match(r'(?:"[^"]*"|[^\r\n])*', text.lstrip("\r\n "))[0]
    head = re.sub(r'"[^"]*"', "", head)
    delimiter = next((d for d in "\t;" if d in head), ",")
    rows = reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    names, records, lines, line = (), [], [], 1
    try:
        for row in rows:
            start, line = line, rows.line_num + 1
            row = tuple(cell.strip() for cell in row)
            if row == () or (row == ("",) and len(names) != 1):
                continue
            if not names:
                names = _checked_header(path, row)
            elif len(row) == len(names):
                records.append(row)
                lines.append(start)
            else:
                raise TableError(
                    f"{path}, line {start}: {len(row)} fields, but the header has "
                    f"{len(names)} (delimiter {delimiter!r}); quote a cell that "
                    "contains the delimiter, leave missing values empty"
                )
    except CSVError as error:
        raise TableError(f"{path}, record at line {line}: {error}; check the quotes") from None
    if not names:
        raise TableError(f"{path} is empty: expected a header line and rows of data")
    if not records:
        raise TableError(f"{path} has a header ({', '.join(names)}) but no rows of data")
    return Table(names, tuple(zip(*records, strict=True)), tuple(lines))


def _read_text(path):
    try:
        data = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise TableError(f"cannot read {str(path)!r} as a CSV file: {error.strerror}") from None
    if b"\0" in data:
        raise TableError(
            f"{path} contains NUL bytes: it is binary (a spreadsheet?) or UTF-16; export it as 'CSV UTF-8'"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TableError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as 'CSV UTF-8'"
        ) from None


def _checked_header(path, names):
    if "" in names:
        raise TableError(
            f"{path}: column {names.index('') + 1} has no name in the header; name "
            "it, or write the file without its index column or trailing delimiter"
        )
    if not _parse(names)[1].any():
        raise TableError(
            f"{path}: the first line ({_listed(names[:4])}, ...) holds numbers, so "
            "the file probably has no header; add a line of column names"
        )
    if repeated := _repeated(names):
        raise TableError(f"{path}: column names occur more than once: {repeated}; rename them")
    return names


def numbers_alone(table, width):
    """X (rows, width) of a table as it stands, for models that know nothing of tables: all columns, in order, finite numbers.

    Raises `TableError` for another number of columns, and for a cell that is no finite number, by line.
    """
    if len(table.names) != width:
        raise TableError(
            f"the model was not made by `kanref fit` and knows no column names, so the table must have exactly its {width} "
            f"inputs as columns, in order; it has {len(table.names)}: {', '.join(table.names)}"
        )
    X = np.empty((len(table), width))
    for p, (name, column) in enumerate(zip(table.names, table.columns)):
        for i, (cell, line) in enumerate(zip(column, table.lines)):
            try:
                X[i, p] = float(cell)
            except ValueError:
                X[i, p] = np.nan
            if not np.isfinite(X[i, p]):
                raise TableError(
                    f"column {name!r}, line {line}: {cell!r} is no finite number; the model was not made by "
                    "`kanref fit`, so it can neither fill missing values nor encode text"
                )
    return X


def write_csv(path, names, columns):
    """Write named columns of equal length; floats with the fewest digits that give them back.

    The file appears complete or not at all: it is written beside `path`, then renamed.
    """
    columns = [c.tolist() if isinstance(c, np.ndarray) else list(c) for c in columns]
    lengths = [len(c) for c in columns]
    if len(columns) != len(names) or len(set(lengths)) > 1:
        raise TableError(f"{len(names)} names need as many columns of one length, got columns of lengths {lengths}")
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "w", encoding="utf-8", newline="") as file:
            for row in (names, *zip(*columns, strict=True)):
                file.write(",".join(map(_quoted, row)) + "\n")
        os.replace(partial, path)
    except OSError as error:
        raise TableError(f"cannot write {str(path)!r}: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def _quoted(cell):
    text = str(cell)
    plain = text and not re.search(r'[",;\t\r\n]|^\s|\s$', text)
    return text if plain else '"' + text.replace('"', '""') + '"'


def _listed(names):
    return ", ".join(map(repr, names))


def _repeated(names):
    return _listed(name for name, count in Counter(names).items() if count > 1)


def _missing(cells):
    return np.array([cell.lower() in MISSING for cell in cells], dtype=bool)


def _parse(cells):
    """Values, NaN where a cell is missing or not a number, and the mask of the latter."""
    values, bad = np.full(len(cells), np.nan), ~_missing(cells)
    for i in np.flatnonzero(bad):
        try:
            values[i] = float(cells[i])
            bad[i] = "_" in cells[i]
        except ValueError:
            pass
    return values, bad


def _refuse(mask, what, name, cells, lines):
    if mask.any():
        i = mask.argmax()
        raise TableError(
            f"column {name!r}, line {lines[i]}: {cells[i]!r} {what}; correct it, or "
            "leave the cell empty if the value is missing"
        )


def _numbers(*where):
    """Values of a numeric column, NaN where missing; the first bad cell is refused."""
    values, bad = _parse(where[1])
    _refuse(bad, "is not a number (decimal point, no thousands separators, no units)", *where)
    _refuse(np.abs(values) > HUGE, f"is infinite or beyond {HUGE:g}", *where)
    return values


def _numbers_or_none(name, cells, lines):
    """Values if the column is numeric, None if it is text, `TableError` if it is dirty."""
    present = cells[~_missing(cells)]
    without_commas = [cell.replace(",", "") for cell in present]
    dirt = min(_parse(present)[1].mean(), _parse(without_commas)[1].mean())
    return _numbers(name, cells, lines) if dirt < 0.1 else None


def _affine(values, origin, unit, *where):
    with np.errstate(over="ignore"):
        values = (values - origin) / unit
    _refuse(np.isinf(values), "is too far outside the training range", *where)
    return values


@dataclass(frozen=True)
class Column:
    """What becomes of one input column, and why.

    kind "numeric": x -> 2 (x - low) / (high - low) - 1, with `fill` for missing values, and a 0/1
    feature beside it if `indicator`; low = high leaves only the indicator. kind "categorical":
    one 0/1 feature per level. kind "dropped": not used.
    """

    name: str
    kind: str
    why: str
    low: float | None = None
    high: float | None = None
    fill: float | None = None
    indicator: bool = False
    levels: tuple[str, ...] = ()

    @property
    def feature_names(self):
        if self.kind != "numeric":
            return tuple(f"{self.name}={level}" for level in self.levels)
        names = (self.name, f"{self.name} {MISSING_LEVEL}")
        return names[self.low == self.high : 1 + self.indicator]


@dataclass(frozen=True)
class Note:
    """`count` cells of `column` met something worth telling: `str(note)` is the sentence."""

    column: str
    count: int
    what: str

    def __str__(self):
        return f"{self.column}: {self.count} {self.what}"


@dataclass(frozen=True)
class Encoded:
    """X (N, n); y (N,), float or integer codes, or None; table `rows` (N,), their `lines` (N,)."""

    X: np.ndarray
    y: np.ndarray | None
    rows: np.ndarray
    lines: np.ndarray
    report: tuple[Note, ...]


@dataclass(frozen=True)
class Schema:
    """How a table becomes arrays; made by `fit_schema`. `why` states how the task was chosen.

    Regression: y -> (y - mean) / std. Classification: y -> position of the label in `labels`.
    """

    columns: tuple[Column, ...]
    target: str
    task: str
    why: str
    mean: float = 0.0
    std: float = 1.0
    labels: tuple[str, ...] = ()

    @property
    def inputs(self):
        """Names of the columns that are used, which a table for prediction must have."""
        return tuple(c.name for c in self.columns if c.kind != "dropped")

    @property
    def feature_names(self):
        """Names of the columns of X: `age`, `age (missing)`, `colour=red`."""
        return tuple(name for c in self.columns for name in c.feature_names)

    def encode(self, table, *, labelled=True):
        """Arrays for a table that has the `inputs`; other columns are ignored.

        When the table has the target column, rows where it is missing are left out and a label
        unseen in training is refused; `labelled=False` ignores that column and keeps every row,
        as prediction wants. The report counts rows left out, missing numbers (which become the
        median), numbers outside the training range (which map outside [-1, 1]) and cells whose
        level was unseen in training (all features of the column are 0).
        """
        if lacking := [name for name in self.inputs if name not in table.names]:
            raise TableError(
                f"the table lacks {_listed(lacking)}, which the schema needs; its columns are {_listed(table.names)}"
            )
        rows, y, notes, X = np.arange(len(table)), None, [], []
        if labelled and self.target in table.names:
            rows = rows[~_missing(table.take(self.target, rows)[1])]
            if not len(rows):
                raise TableError(
                    f"the target {self.target!r} is missing in every row; labelled=False encodes rows for prediction"
                )
            y = self._encode_target(*table.take(self.target, rows))
            notes.append(Note(self.target, len(table) - len(rows), "rows without it left out"))
        for column in self.columns:
            if column.kind != "dropped":
                encode = _encode_numeric if column.kind == "numeric" else _encode_categorical
                features, remarks = encode(column, *table.take(column.name, rows))
                X += features
                notes += remarks
        return Encoded(
            np.stack(X, axis=1), y, rows, np.array(table.lines)[rows], tuple(note for note in notes if note.count)
        )

    def _encode_target(self, *where):
        if self.task == "regression":
            return _affine(_numbers(*where), self.mean, self.std, *where)
        numeric = not _parse(self.labels)[1].any()
        code = {key: i for i, key in enumerate(_keys(self.labels, numeric))}
        codes = np.array([code.get(key, -1) for key in _keys(where[1], numeric)])
        _refuse(codes < 0, f"is none of the training labels {_listed(self.labels)}", *where)
        return codes

    def decode(self, y):
        """Targets in the user's terms: y std + mean, or the labels (text) of integer codes."""
        y = np.asarray(y)
        if self.task == "regression":
            return y * self.std + self.mean
        if y.dtype.kind not in "iu" or np.any((y < 0) | (y >= len(self.labels))):
            raise TableError(f"codes must be integers in 0..{len(self.labels) - 1}, got {y}")
        return np.array(self.labels)[y]

    def to_json(self):
        """The schema as a dict of JSON types; `from_json` gives back an equal schema."""
        return json.loads(json.dumps({"version": VERSION, **asdict(self)}))

    @staticmethod
    def from_json(data):
        """The schema that `to_json` wrote; `TableError` for another version or another dict."""
        fields = dict(data)
        version = fields.pop("version", None)
        if version != VERSION:
            raise TableError(f"schema version {version!r} is not the known version {VERSION}")
        try:
            columns = (Column(**{**c, "levels": tuple(c["levels"])}) for c in fields["columns"])
            fields |= {"columns": tuple(columns), "labels": tuple(fields["labels"])}
            return Schema(**fields)
        except (KeyError, TypeError) as error:
            raise TableError(f"not a schema: {error}") from None


def _keys(labels, numeric):
    """What makes two labels equal: the value if all are numbers ("1" and "1.0"), else the text."""
    return _parse(labels)[0].tolist() if numeric else list(labels)


def _encode_numeric(column, *where):
    values = _numbers(*where)
    gaps = np.isnan(values)
    values[gaps] = column.fill
    outside = (values < column.low) | (values > column.high)
    features = [gaps.astype(float)] if column.indicator else []
    if column.low < column.high:
        unit = column.high - column.low
        features.insert(0, 2 * _affine(values, column.low, unit, *where) - 1)
    return features, [
        Note(column.name, int(gaps.sum()), "missing, filled with the median"),
        Note(column.name, int(outside.sum()), "outside the training range"),
    ]


def _encode_categorical(column, name, cells, lines):
    cells = np.where(_missing(cells), MISSING_LEVEL, cells)
    unseen = Counter(cell for cell in cells if cell not in column.levels)
    what = f"with levels unseen in training ({_listed(sorted(unseen)[:5])}), encoded as zeros"
    return ([(cells == level).astype(float) for level in column.levels], [Note(name, unseen.total(), what)])


def fit_schema(table, target, *, task="auto", drop=(), train_rows=None):
    """Decide from the training rows (row indices; default all) how a table becomes arrays.

    Numeric inputs are mapped to [-1, 1], where the grid of a network lives, by their least and
    greatest training value; missing ones become the median, with an indicator feature if any
    are missing. Beware of heavy tails: one extreme value pushes all others into a few intervals,
    so take the logarithm of such a column first. Text inputs are one-hot encoded, levels sorted,
    missing cells as a level of their own; they are dropped if all values differ (an identifier)
    or if there are more than 50 levels. Inputs that are constant are dropped.

    task="auto": a text target means classification, with at most 50 labels; so does a target of
    integers with at most 10 distinct values of which one occurs twice; other numbers mean
    regression. Labels are sorted, by value if they are numbers. Raises `TableError` when the data
    do not allow it: unknown names, dirty cells, fewer than 3 rows, a constant target, no input.
    """
    if task not in ("auto", "regression", "classification"):
        raise TableError(f"task must be 'auto', 'regression' or 'classification', got {task!r}")
    if isinstance(drop, str) or target in drop:
        raise TableError(f"drop must be a sequence of column names other than the target {target!r}, got {drop!r}")
    for role, name in (("target", target), *(("drop", name) for name in drop)):
        if name not in table.names:
            closest = max(table.names, key=lambda n: _similarity(n, name))
            raise TableError(
                f"{role} {name!r} is not a column; the closest is {closest!r} among {_listed(table.names)}"
            )
    rows = np.arange(len(table)) if train_rows is None else np.asarray(train_rows)
    if rows.dtype.kind not in "iu" or rows.ndim != 1 or np.any((rows < 0) | (rows >= len(table))):
        raise TableError(f"train_rows must be row indices in 0..{len(table) - 1}, got {rows}")
    rows = rows[~_missing(table.take(target, rows)[1])]
    if len(rows) < MIN_ROWS:
        raise TableError(f"only {len(rows)} training rows have a target {target!r}; at least {MIN_ROWS} are needed")
    columns = tuple(
        Column(name, "dropped", "on request") if name in drop else _fit_column(*table.take(name, rows))
        for name in table.names
        if name != target
    )
    schema = Schema(columns, target, *_fit_target(task, *table.take(target, rows)))
    if not schema.inputs:
        reasons = "; ".join(f"{c.name!r}: {c.why}" for c in columns) or "the table has no other"
        raise TableError(f"no input column is left beside the target {target!r} ({reasons})")
    if repeated := _repeated(schema.feature_names):
        raise TableError(f"several features would be named {repeated}; rename a column")
    return schema


def _similarity(name, other):
    return difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()


def _fit_column(*where):
    name, cells, _ = where
    gaps = _missing(cells)
    present, missing = cells[~gaps], int(gaps.sum())
    if not len(present):
        return Column(name, "dropped", "no value in the training rows")
    values = _numbers_or_none(*where)
    levels = np.unique(np.where(gaps, MISSING_LEVEL, cells) if values is None else values)
    if len(levels) == 1:
        return Column(name, "dropped", f"constant in the training rows ({present[0]})")
    if values is not None:
        low, high, fill = (float(f(values)) for f in (np.nanmin, np.nanmax, np.nanmedian))
        filled = f"; {missing} missing, filled with the median {fill:g} and indicated"
        why = f"numbers in [{low:g}, {high:g}]{filled if missing else ''}"
        return Column(name, "numeric", why, low, high, fill, indicator=missing > 0)
    numbers = 1 - _parse(present)[1].mean()
    note = f"; {numbers:.0%} of the values are numbers" if numbers else ""
    if len(set(present)) == len(present) > 1:
        return Column(name, "dropped", f"text that differs in every row (an identifier?){note}")
    why = f"text with {len(levels)} levels{note}"
    if len(levels) > MAX_LEVELS:
        return Column(name, "dropped", f"{why}; more than {MAX_LEVELS} are too many")
    return Column(name, "categorical", why, levels=tuple(levels.tolist()))


def _fit_target(task, *where):
    """task, why, mean, std, labels of a target without missing cells."""
    name, cells, _ = where
    if task == "auto":
        values = _numbers_or_none(*where)
    elif task == "regression":
        values = _numbers(*where)
    else:
        values, bad = _parse(cells)
        values = None if bad.any() else values
    keys = _keys(cells, values is not None)
    spelling = dict(sorted(zip(keys, cells, strict=True), reverse=True))
    distinct = len(spelling)
    if distinct == 1:
        raise TableError(
            f"the target {name!r} is constant ({cells[0]}) in the training rows: there is nothing to learn"
        )
    why = "as asked for"
    if task == "auto":
        few = distinct <= MAX_INTEGER_CLASSES and distinct < len(cells)
        if values is None and distinct > MAX_LEVELS:
            raise TableError(
                f"the target {name!r} is text with {distinct} labels (the first "
                f"{cells[0]!r}), more than {MAX_LEVELS}; mend it if it should be a "
                "number, or ask for task='classification'"
            )
        if values is None:
            task, why = "classification", f"the target is text with {distinct} labels"
        elif few and np.all(values % 1 == 0):
            task, why = (
                "classification",
                (
                    f"the target has only {distinct} values, all integers; "
                    "ask for task='regression' if they are quantities"
                ),
            )
        else:
            task, why = "regression", f"the target has {distinct} distinct numbers"
    if task == "regression":
        mean = values.mean()
        largest = np.abs(values - mean).max()
        std = largest * np.sqrt(np.mean(((values - mean) / largest) ** 2))
        return task, why, float(mean), float(std)
    if distinct == len(cells):
        raise TableError(
            f"every row has its own label in the target {name!r} (the first {cells[0]!r}): a class needs several rows"
        )
    return task, why, 0.0, 1.0, tuple(spelling[key] for key in sorted(spelling))


def split(n, seed, fractions=(0.7, 0.15, 0.15), strata=None):
    """Split 0..n-1 at random into sorted index arrays, one per fraction; same seed, same split.

    Sizes are n * fractions by largest remainder. With `strata`, one label per row, every part
    has the classes nearly in proportion and the first part has them all: one row of each class
    goes there, the others are dealt class after class in evenly interleaved turns. Raises
    `ValueError` when a part would be empty or the first cannot hold all classes.
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.ndim != 1 or not np.all(shares > 0) or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(f"fractions must be positive and add up to 1, got {fractions}")
    sizes = np.floor(n * shares).astype(int)
    sizes[np.argsort(sizes - n * shares, kind="stable")[: n - sizes.sum()]] += 1
    if np.any(sizes < 1):
        raise ValueError(
            f"{n} rows in fractions {fractions} make parts of {sizes.tolist()} rows "
            "and none may be empty: give more rows or larger fractions"
        )
    classes = np.zeros(n, int) if strata is None else np.unique(strata, return_inverse=True)[1]
    if len(classes) != n:
        raise ValueError(f"strata must have one label for each of {n} rows, got {len(classes)}")
    order = np.random.default_rng(seed).permutation(n)
    order = order[np.argsort(classes[order], kind="stable")]
    first = np.diff(classes[order], prepend=-1) > 0
    if first.sum() > sizes[0]:
        raise ValueError(f"the first part has {sizes[0]} rows, too few for {first.sum()} classes")
    rest = sizes.copy()
    rest[0] -= first.sum()
    turn = np.concatenate([(np.arange(m) + 0.5) / m for m in rest])
    part = np.zeros(n, int)
    part[order[~first]] = np.repeat(np.arange(len(rest)), rest)[np.argsort(turn, kind="stable")]
    return tuple(np.flatnonzero(part == p) for p in range(len(sizes)))
