"""What the ledger says now: verdicts on kanref and on every peer, as a table, at length, and as JSON."""

import json
import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import kanref
from kanref.ledger.peers import PEERS
from kanref.ledger.row import near

RECORD = Path(__file__).parent / "recorded.json"
SAME = 1e-3  # relative: what counts as the value that was recorded, on other machines and in single precision
WIDTH, ENTRIES = 126, 8  # of a line, and of a list in the table


@dataclass(frozen=True)
class Entry:
    """One line of a row: who ("kanref", or a peer), its answer {"finding"} or {"raised"} or {}, and the verdict.

    Verdicts: "right", "wrong"; of peers with a record "right (fixed)" if that is wrong, "as recorded" or "wrong, but otherwise";
    "not installed (recorded: wrong)" with the recorded answer and version, "formula" with what the published formula gives.
    """

    who: str
    version: str
    answer: dict
    verdict: str


@dataclass(frozen=True, eq=False)
class Report:
    """rows: (row, right finding, entries), kanref's entry first."""

    rows: tuple

    @property
    def passed(self):
        """Whether kanref is right everywhere."""
        return all(entries[0].verdict == "right" for _, _, entries in self.rows)

    def summary(self):
        """Counts of verdicts in a line."""
        own, others = [], []
        for _, _, entries in self.rows:
            own.append(entries[0].verdict == "right")
            others += [entry.verdict for entry in entries[1:]]
        counts = (f"{others.count(verdict)} {verdict}" for verdict in dict.fromkeys(others))
        return f"kanref is right in {sum(own)} of {len(own)} rows; others: {', '.join(counts) or 'none'}"

    def table(self, full=False):
        """The rows as text; full: with derivation, reproduction and switch, and lists at full length."""
        return "\n\n".join([self._block(*row, full) for row in self.rows] + [self.summary()])

    def _block(self, row, right, entries, full):
        entries = [Entry("right value", "", {"finding": right}, ""), *entries]
        names = [f"{entry.who} {entry.version}".rstrip() for entry in entries]
        wide, far = max(map(len, names)), max(len(entry.verdict) for entry in entries)
        lines = [f"{row.number:<4} {row.title}"]
        if full:
            known = {"peers": ", ".join(row.peers), **_texts(row)}
            lines += [_wrapped(f"     {name + ':':<12}", text or "none") for name, text in known.items()]
        for name, entry in zip(names, entries):
            lines.append(_wrapped(f"     {name:<{wide}}  {entry.verdict:<{far}}  ", told(entry.answer, full)))
        return "\n".join(lines)

    def json(self):
        """Everything, with lists in full; numbers that are not finite as text."""
        found = []
        for row, right, entries in self.rows:
            known = {"number": row.number, "title": row.title, "peers": list(row.peers), **_texts(row), "right": right}
            told = [{"who": e.who, "version": e.version, "verdict": e.verdict, **e.answer} for e in entries]
            found.append({**known, "kanref": told[0], "found": told[1:]})
        return json.dumps(_strict({"kanref": kanref.__version__, "passed": self.passed, "rows": found}), indent=1)


def report(rows, answers, recorded=None):
    """Verdicts on rows, from the answers of `kanref.ledger.peers.ask` and what `read` gave (None: the file beside this one)."""
    recorded = read() if recorded is None else recorded
    return Report(tuple((row, row.right(), tuple(_entries(row, answers, recorded))) for row in rows))


def _entries(row, answers, recorded):
    answer = _asked(row.ours)
    yield Entry("kanref", "", answer, "right" if meets(row, answer) else "wrong")
    for peer in row.peers:
        now, then = answers.get((row.number, peer), {}), recorded.get((row.number, peer), {})
        if "version" in now:
            yield Entry(peer, now["version"], _result(now), _verdict(row, now, then))
        elif then:
            verdict = "right" if meets(row, then) else "wrong"
            yield Entry(peer, then["version"], _result(then), f"not installed (recorded: {verdict})")
        elif peer in row.wrong:
            yield Entry(peer, "", _asked(row.wrong[peer]), "formula")
        elif now:
            yield Entry(peer, "", {}, "not installed")


def _asked(function):
    try:
        return {"finding": function()}
    except Exception as error:  # a defect of kanref must not hide the other rows
        return {"raised": f"{type(error).__name__}: {error}"}


def _result(answer):
    return {key: answer[key] for key in ("finding", "raised") if key in answer}


def meets(row, answer):
    """Whether an answer is a finding, and right; without the quantities that are asked for it is not."""
    try:
        return "finding" in answer and bool(row.met(answer["finding"]))
    except (KeyError, TypeError, ValueError):
        return False


def _verdict(row, now, then):
    if meets(row, now):
        return "right" if not then or meets(row, then) else "right (fixed)"
    if not then:
        return "wrong"
    if "raised" in now or "raised" in then:
        return "as recorded" if "raised" in now and "raised" in then else "wrong, but otherwise"
    if row.agrees is not None:  # what comes out wrong there, differs from run to run or from machine to machine
        return "as recorded"
    a, b = then.get("finding", {}), now["finding"]
    same = all(name in a and name in b and _same(a[name], b[name]) for name in row.right())
    return "as recorded" if same else "wrong, but otherwise"


def _same(a, b):
    """near, where both may have the same entries that are not finite."""
    if isinstance(a, bool | str) or isinstance(b, bool | str):
        return a == b
    a, b = np.asarray(a, float), np.asarray(b, float)
    finite = np.isfinite(a)
    if a.shape != b.shape or not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return False
    return near(a[finite], b[finite], SAME)


# ----------------------------------------------------------------------------------------------------------------- text


def told(answer, full=False):
    """An answer in a line: quantities with their values."""
    if "raised" in answer:
        return f"raised {answer['raised']}"
    return "; ".join(f"{name} {_value(value, full)}" for name, value in answer.get("finding", {}).items())


def _value(value, full):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value or "nothing"
    if np.ndim(value) == 0:
        return format(value, ".10g" if full else ".4g")
    rows = [_value(part, full) for part in value]
    shown = rows if full or len(rows) <= ENTRIES else [*rows[:ENTRIES], f"... ({len(rows)})"]
    return f"({' '.join(shown)})"


def _texts(row):
    """Derivation, reproduction and switch, without the line breaks of their source."""
    return {name: " ".join(getattr(row, name).split()) for name in ("derivation", "reproduce", "switch")}


def _wrapped(start, text):
    indent = " " * len(start)
    options = {"initial_indent": start, "subsequent_indent": indent, "break_on_hyphens": False}
    return "\n".join(textwrap.wrap(text, WIDTH, **options)) or start.rstrip()


# --------------------------------------------------------------------------------------------------------------- record


def read(path=RECORD):
    """{(number, peer): {"version", "finding"} or {"version", "raised"}} as recorded; empty if there is no such file."""
    if not Path(path).exists():
        return {}
    try:
        told = json.loads(Path(path).read_text("utf-8"))
        return {(number, peer): _numbers(answer) for number, own in told.items() for peer, answer in own.items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path} holds something else than `kanref ledger --record` writes: {error}") from None


def record(path, answers):
    """Writes the answers of all peers that were there to a file; what it has of others stays."""
    kept = read(path)
    for key, answer in answers.items():
        if "version" in answer:
            kept[key] = {"version": answer["version"] or PEERS[key[1]].recorded, **_result(answer)}
    order = sorted(kept, key=lambda key: (int(key[0][1:]), list(PEERS).index(key[1])))
    lines = {}
    for number, peer in order:
        lines.setdefault(number, []).append(f'  "{peer}": {json.dumps(_strict(kept[number, peer]))}')
    rows = [f' "{number}": {{\n' + ",\n".join(own) + "\n }" for number, own in lines.items()]
    Path(path).write_text("{\n" + ",\n".join(rows) + "\n}\n", "utf-8")


def _strict(value):
    """Plain values, where numbers that are not finite are text, which JSON can hold."""
    if isinstance(value, dict):
        return {name: _strict(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_strict(part) for part in value]
    value = value.item() if isinstance(value, np.generic) else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value):
    """The inverse of `_strict`."""
    if isinstance(value, dict):
        return {name: _numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_numbers(part) for part in value]
    return float(value) if value in ("nan", "inf", "-inf") else value
