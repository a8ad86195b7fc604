"""What became of a model on its way to or from another library."""

from dataclasses import dataclass, field

HEADS = {name: name for name in ("impossible", "differs", "changed", "dropped", "kept", "checked")}
HEADS["differs"] = "the function differs"


class Unrepresentable(ValueError):
    """The other side has no place for something that the function needs; `report` lists all of it."""

    def __init__(self, report):
        if report.impossible:
            text = f"{report.route} is impossible: {'; '.join(report.impossible)}"
        else:
            differs = "; ".join(report.differs)
            text = f"{report.route} would change the function: {differs}. Give strict=False (--lossy) to accept that"
        super().__init__(text)
        self.report = report


@dataclass(frozen=True, eq=False)
class Report:
    """Lists of remarks about one conversion; str(report) is a table of them.

    route: "pykan to kanref"; kept: what has its place on the other side; changed: what is written in another form, with the
    same function; dropped: what the function does not need; differs: what makes it another function, nothing if strict;
    impossible: what the other side cannot even load, always nothing; checked: what `convert` found when it read the file again.
    reading: arguments that the reader needs to find the same function again, as the file has no place for them.
    """

    route: str
    kept: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    differs: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    reading: dict = field(default_factory=dict)

    def strangers(self, names):
        """Remark on arrays that belong to no layer."""
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            verb = "is" if len(names) == 1 else "are"
            self.dropped.append(f"{', '.join(names[:3])}{more}, which {verb} no part of a KAN")

    def settled(self, strict):
        """Itself; `Unrepresentable` if it is impossible, or if strict and the function differs."""
        if self.impossible or (strict and self.differs):
            raise Unrepresentable(self)
        return self

    def __str__(self):
        rows = [(HEADS[name], text) for name in HEADS for text in dict.fromkeys(getattr(self, name))]
        width = max((len(head) for head, _ in rows), default=0)
        return "\n".join([self.route, *(f"  {head:<{width}}  {text}" for head, text in rows)])
