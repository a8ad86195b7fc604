"""Sparsity: penalties on edges, attribution scores, and pruning.

    penalty       L1 and entropy of edges, by the paper's metric or pykan's           penalty, metrics
    magnitudes    how large every edge is, by any metric                              attribution
    attribute     how much inputs, nodes and edges matter                             attribution
    prune         a smaller network without what does not matter                      prune
    masked        the same function with masks, in the old shape                      prune

Everything takes (net, theta, x, ...) and returns new objects; the old ones stay as they are.
"""

from kanref.sparsify.attribution import Scores, attribute, magnitudes
from kanref.sparsify.metrics import METRICS
from kanref.sparsify.penalty import penalty
from kanref.sparsify.prune import Pruned, Report, masked, prune

__all__ = ["METRICS", "Pruned", "Report", "Scores", "attribute", "magnitudes", "masked", "penalty", "prune"]
