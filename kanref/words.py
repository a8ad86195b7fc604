"""Tables in text."""


def aligned(lines, left=1):
    """Cells in columns, the first `left` of them to the left, the others to the right."""
    lines = [[str(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines)]
    pad = lambda c, cell: cell.ljust(widths[c]) if c < left else cell.rjust(widths[c])
    return "\n".join("  ".join(pad(c, cell) for c, cell in enumerate(line)).rstrip() for line in lines)
