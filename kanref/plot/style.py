"""What all figures share: colours, the style, the checks of names.

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from functools import wraps

import numpy as np
from matplotlib import rc_context

from kanref import arrays as border

BLUE, VERMILLION, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#E69F00", "#009E73", "#8C8C8C"
INK = "#222222"
MAX_SAMPLES = 4000  # points in a scatter
MAX_KNOTS = 50  # ticks that can still be told apart
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.linewidth": 0.7,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "legend.fontsize": 9,
    "savefig.dpi": 160,
    "pdf.fonttype": 42,
}


def styled(draw):
    """`draw` in this style; the user's settings are as before when it returns."""

    @wraps(draw)
    def in_style(*args, **kwargs):
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return in_style


def checked_names(names, what, count, default):
    """`count` names as text, by default `default` with a number."""
    names = [f"{default}{k + 1}" for k in range(count)] if names is None else [str(name) for name in names]
    if len(names) != count:
        raise ValueError(f"{what} must be {count} names, but there are {len(names)}")
    return names


def plural(word, count):
    return word if count == 1 else word + "s"


def short(name, length=16):
    return name if len(name) <= length else name[: length - 1] + "…"


def seen(model, X, names=None):
    """What a model's network takes of samples X, and names of these inputs, None for none.

    names: of all columns of X or of the network's inputs; by default the model's own. After pruning the names of the
    columns that stayed are kept.
    """
    if not hasattr(model, "points"):
        return border.points(X, model.net.inputs, "X"), names
    if names is None and (model.names or len(model.columns) < model.width):
        names = model.input_names
    elif names is not None and len(names) == model.width:
        names = [names[c] for c in model.columns]
    return model.points(X), names


def activations(model, X):
    """Of every level at X (N, n), outputs last; ValueError if the outputs are not finite."""
    levels = model.net.activations(model.theta, X)
    finite = np.isfinite(levels[-1]).all(1)
    if not finite.all():
        n = int(np.argmin(finite))
        raise ValueError(
            f"the network's outputs must be finite on X, but those of X[{n}] are {levels[-1][n]}; it lies outside the "
            "domain of a formula, or numbers overflow"
        )
    return levels
