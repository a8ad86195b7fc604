"""Figures of training, edges and fit, as `matplotlib.figure.Figure` objects: nothing is shown, nothing is written.

    plot.training(model.history).savefig("training.pdf")

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from functools import wraps

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter

from kanref import arrays as border
from kanref.bases import BSpline

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6B6B6B"
SPLIT_COLOURS = {"train": BLUE, "validation": "#E69F00", "test": VERMILLION}
MAX_SHOWN = 12
MAX_CELLS_WITH_NUMBERS = 15
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "black",
    "ytick.labelcolor": "black",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "figure.titlesize": 11,
    "savefig.dpi": 160,
    "pdf.fonttype": 42,
    "svg.hashsalt": "kanref",
}


def _styled(draw):
    """`draw` under this module's style, whatever the user's own settings are."""

    @wraps(draw)
    def styled(*args, **kwargs):
        with rc_context():
            from matplotlib import rcdefaults

            rcdefaults()
            with rc_context(STYLE):
                return draw(*args, **kwargs)

    return styled
