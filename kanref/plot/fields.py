"""The solution of a differential equation, beside the reference, and how training went."""

import numpy as np
from matplotlib.figure import Figure

from kanref.plot.style import BLUE, GREEN, ORANGE, VERMILLION, styled

COUNT = 101  # points each way
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, "#56B4E9", "#CC79A7")


@styled
def fields(problem, net, theta, hard=False, curves=()):
    """Solution, reference, error and residual of a problem with two coordinates; below, loss and error in training.

    problem: a `pde.Problem`; hard: with conditions built in;
    curves: one (label, seconds, loss, relative L2 error) for each level, three vectors of one length, errors NaN where nobody
        looked; empty for no curves. Returns a Figure. ValueError for another number of coordinates.
    """
    if len(problem.coordinates) != 2:
        raise ValueError(f"fields draws problems with two coordinates, but {problem.name} has {len(problem.coordinates)}")
    x = problem.mesh(COUNT)
    u, exact = problem.function(net, hard)(theta, x)[:, 0], problem.reference(x)
    r = np.linalg.norm(problem.residual(net, theta, x, hard), axis=1)
    figure = Figure(figsize=(13.2, 6.2 if len(curves) else 3.3), layout="constrained")
    parts = figure.subfigures(2, 1, height_ratios=(1.2, 1)) if len(curves) else (figure,)
    _panels(parts[0], problem, u, exact, r)
    if len(curves):
        _curves(parts[1], curves)
    told = ", ".join(f"{name} = {value:g}" for name, value in problem.parameters.items())
    figure.suptitle(f"{problem.name}: {problem.equation}; {told}", fontsize=10.5, parse_math=False)
    return figure


def _panels(part, problem, u, exact, r):
    error, L2 = u - exact, np.linalg.norm(u - exact) / np.linalg.norm(exact)
    level = {"vmin": min(u.min(), exact.min()), "vmax": max(u.max(), exact.max()), "cmap": "viridis"}
    reach = np.abs(error).max() or 1.0
    shown = (
        ("network", u, level),
        ("reference", exact, level),
        (f"error, relative L2 {L2:.1e}, largest {reach:.1e}", error, {"vmin": -reach, "vmax": reach, "cmap": "RdBu_r"}),
        ("size of the residual", r, {"vmin": 0, "vmax": np.quantile(r, 0.99) or 1.0, "cmap": "magma_r"}),
    )
    across = problem.coordinates.index("t") if "t" in problem.coordinates else 0  # time runs to the right
    extent = (*problem.domain[across], *problem.domain[1 - across])
    panels = part.subplots(1, 4, sharex=True, sharey=True)
    for panel, (title, values, look) in zip(panels, shown):
        field = values.reshape(COUNT, COUNT)
        image = panel.imshow(field if across else field.T, origin="lower", extent=extent, aspect="auto", **look)
        panel.set(title=title, xlabel=problem.coordinates[across])
        small, beyond = max(map(abs, image.get_clim())) < 0.1, values.max() > image.get_clim()[1]
        look = {"format": "%.1e" if small else None, "extend": "max" if beyond else "neither"}
        part.colorbar(image, ax=panel, pad=0.02, aspect=25, **look).outline.set_visible(False)
    panels[0].set_ylabel(problem.coordinates[1 - across])


def _curves(part, curves):
    axes = part.subplots(1, 2)
    for (label, seconds, loss, error), colour in zip(curves, COLOURS * len(curves)):
        known = np.isfinite(error)
        axes[0].plot(seconds, loss, color=colour, lw=1.5, label=label)
        axes[1].plot(seconds[known], error[known], color=colour, lw=1.5, marker=".", ms=3)
    for ax, title in zip(axes, ("loss", "relative L2 error")):
        ax.set(title=title, xlabel="seconds", yscale="log")
        ax.grid(axis="y", color="#EBEBEB", lw=0.6)
    axes[0].legend()
