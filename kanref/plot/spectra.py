"""The change of basis and what it does to descent: eigenvalues, eigenvectors, tangent kernels, cost, digits."""

import numpy as np
from matplotlib.figure import Figure

from kanref.multilevel.geometry import condition, spectrum
from kanref.plot.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION, styled
from kanref.power_relu import differences, sums

COLOURS = (BLUE, GREEN, ORANGE, VERMILLION, "#CC79A7")
SIZES = (10, 20, 40, 80)


@styled
def spectra(orders=(1, 2, 3, 4), size=40, shown=3):
    """Eigenvalues of A' A for A = (I - S)^r, their ratio against the size, and eigenvectors of order `shown`; a Figure."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    eigenvalues, growth, vectors = figure.subplots(1, 3)
    for r, colour in zip(orders, COLOURS):
        values, look = spectrum(differences(size, r), sums(size, r))[0], {"color": colour, "ms": 4, "label": f"r = {r}"}
        eigenvalues.semilogy(np.arange(1, size + 1), values / values[-1], ".-", lw=0.8, **look)
        ratios = np.array([condition(n, r) for n in SIZES])
        growth.loglog(SIZES, ratios, "o-", **look)
        growth.loglog(SIZES, ratios[-1] * (np.array(SIZES) / SIZES[-1]) ** (2.0 * r), ":", color=INK, lw=0.8)
    eigenvalues.set(title=f"eigenvalues of A'A, size {size}", xlabel="index", ylabel="of the largest")
    eigenvalues.legend(loc="lower right")
    growth.set(title="largest to smallest; dotted: slope 2r", xlabel="size n")
    growth.set_xticks(SIZES, [str(n) for n in SIZES])
    growth.minorticks_off()
    V = spectrum(differences(size, shown), sums(size, shown))[2]
    for row, (k, colour) in enumerate(zip((0, 1, 2, size - 1), COLOURS)):
        vectors.axhline(-row, color=GREY, lw=0.5)
        v = V[:, k] / np.abs(V[:, k]).max() * np.sign(V[np.abs(V[:, k]).argmax(), k])
        vectors.plot(np.arange(size), 0.45 * v - row, ".-", color=colour, ms=4, lw=0.8)
        vectors.text(-1.5, 0.12 - row, f"{k}", color=colour, ha="right", fontsize=8)
    vectors.set(title=f"eigenvectors of AA', r = {shown}, and their sign changes", xlabel="knot index", yticks=[])
    vectors.set_xlim(left=-0.12 * size)
    return figure


@styled
def tangents(kernels):
    """Eigenvalues of tangent kernels {label: (of NTK_S, of NTK_R)}, each relative to its largest; a Figure."""
    figure = Figure(figsize=(7.4, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for k, title in enumerate(("in splines", "in power ReLUs")):
        for (label, pair), colour in zip(kernels.items(), COLOURS):
            values = np.sort(pair[k])[::-1]
            panels[k].semilogy(np.arange(1, len(values) + 1), values / values[0], color=colour, label=label)
        panels[k].set(title=f"tangent kernel {title}", xlabel="mode", xlim=(0, None), ylim=(1e-9, 2))
        panels[k].grid(axis="y", color="#EBEBEB", lw=0.6)
    panels[0].set_ylabel("eigenvalue, of the largest")
    panels[0].legend()
    return figure


@styled
def costs(times, digits):
    """Evaluation times {way: {degree: [(intervals, seconds)]}} and lost digits {way: [(intervals, error)]}; a Figure."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    cost, lost = figure.subplots(1, 2)
    for way, style in zip(times, ("-", "--", ":")):
        cost.plot([], style, color=INK, label=way)
    for by_degree, style in zip(times.values(), ("-", "--", ":")):
        for (degree, rows), colour in zip(by_degree.items(), COLOURS):
            n, seconds = np.transpose(rows)
            label = f"r = {int(degree) + 1}" if style == "-" else None
            cost.loglog(n, 1e3 * seconds, style, marker="o", ms=3, color=colour, label=label)
    cost.set(title="one evaluation of a layer", xlabel="intervals n", ylabel="milliseconds")
    cost.set_xticks(n, [str(int(count)) for count in n])
    cost.minorticks_off()
    cost.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    for (way, rows), colour in zip(digits.items(), (VERMILLION, ORANGE, BLUE)):
        lost.loglog(*np.transpose(rows), "o-", ms=4, color=colour, label=way)
    lost.set(title="sums of cubic power ReLUs", xlabel="intervals n", ylabel="largest error / max |y|")
    lost.legend(fontsize=8)
    ticks = [row[0] for row in next(iter(digits.values()))]
    lost.set_xticks(ticks, [str(int(n)) for n in ticks])
    lost.minorticks_off()
    return figure
