"""How well predictions meet the truth."""

import numpy as np
from matplotlib.figure import Figure

from kanref.plot.style import BLUE, GREEN, MAX_SAMPLES, ORANGE, VERMILLION, short, styled

MAX_NUMBERED = 12  # classes up to which a confusion matrix shows its counts


@styled
def fit_quality(y, prediction, splits, name="y"):
    """How well predictions meet the truth.

    Numbers: predicted against true values, and a histogram of residuals (1% at the ends are not shown). Labels (text or
    integers): a confusion matrix for each split, coloured by the share of its row.

    y, prediction: (N,) in the user's units; splits: {"train": rows, ...}; name: of the target. Returns a Figure.
    """
    y, prediction = np.asarray(y), np.asarray(prediction)
    if y.shape != prediction.shape or y.ndim != 1:
        raise ValueError(
            f"y and prediction must be vectors of one length, but they have shapes {y.shape} and {prediction.shape}"
        )
    if not splits or not all(len(rows) for rows in splits.values()):
        raise ValueError("splits must be {name: rows} with at least one row in each")
    return (_scatter if y.dtype.kind == "f" else _confusion)(y, prediction, splits, name)


def _scatter(y, prediction, splits, name):
    figure = Figure(figsize=(8.2, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    ends = min(y.min(), prediction.min()), max(y.max(), prediction.max())
    left.plot(ends, ends, color="#555555", lw=0.9, zorder=3)
    size = float(np.clip(5000 / len(y), 5, 20))
    residual = prediction - y
    reach = np.quantile(np.abs(residual), 0.99) or 1.0
    fewest = min(len(rows) for rows in splits.values())
    bins = np.linspace(-reach, reach, 1 + int(np.clip(2 * np.sqrt(fewest), 6, 40)))
    for (split, rows), colour in zip(splits.items(), (BLUE, ORANGE, VERMILLION, GREEN)):
        few = rows[:: -(-len(rows) // MAX_SAMPLES)]
        dots = {"s": size, "color": colour, "alpha": 0.6, "linewidths": 0, "rasterized": len(few) > 1000}
        left.scatter(y[few], prediction[few], **dots)
        rmse = np.sqrt(np.mean(residual[rows] ** 2))
        label = f"{split} ({len(rows)}), RMSE {rmse:.3g}"
        weights = np.full(len(rows), 100 / len(rows))
        look = {"histtype": "step", "lw": 1.7} if split != "train" else {"alpha": 0.3}
        right.hist(residual[rows], bins, weights=weights, color=colour, label=label, **look)
    left.set_xlabel(f"true {name}", parse_math=False)
    left.set_ylabel(f"predicted {name}", parse_math=False)
    left.set_aspect("equal", adjustable="datalim")
    right.axvline(0, color="#555555", lw=0.9, zorder=0)
    right.set(xlabel="predicted less true", ylabel="rows, %")
    right.set_ylim(0, 1.25 * right.get_ylim()[1])
    right.legend(loc="upper left")
    return figure


def _confusion(y, prediction, splits, name):
    labels = np.unique(np.concatenate([y, prediction]))
    code = {label: i for i, label in enumerate(labels.tolist())}
    texts = [short(str(label)) for label in labels]
    K, longest = len(labels), max(map(len, texts))
    upright = longest * K > 24
    side = float(np.clip(0.45 * K, 2.0, 6))
    size = len(splits) * side + 0.08 * longest + 1.7, side + 0.8 + (0.08 * longest if upright else 0.15)
    figure = Figure(figsize=size, layout="compressed")
    axes = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for ax, (split, rows) in zip(axes, splits.items()):
        C = np.zeros((K, K), int)
        np.add.at(C, ([code[v] for v in y[rows].tolist()], [code[v] for v in prediction[rows].tolist()]), 1)
        share = C / np.maximum(1, C.sum(1, keepdims=True))
        image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
        if K <= MAX_NUMBERED:
            for i, j in np.argwhere(C):
                colour = "white" if share[i, j] > 0.55 else "black"
                ax.text(j, i, str(C[i, j]), ha="center", va="center", fontsize=8, color=colour)
        ax.set_title(f"{split} ({len(rows)}): {np.trace(C) / len(rows):.1%} correct")
        ax.set_xlabel(f"predicted {name}", parse_math=False)
        ax.set_xticks(range(K), texts, rotation=90 if upright else 0, parse_math=False)
        ax.set_yticks(range(K), texts, parse_math=False)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel(f"true {name}", parse_math=False)
    bar = figure.colorbar(image, ax=axes, aspect=25, format="{x:.0%}", label="share of the true class")
    bar.outline.set_visible(False)
    return figure
