"""Grids: changing the knots of a network's B-splines while keeping its function.

    knots_from_samples     new knots from data, by named rules                                   rules
    update_from_samples    move every layer's knots to where its inputs are, and refit           least_squares
    extend                 any other number of intervals, by safe least squares                  least_squares
    insert_knots, refine   more knots, exactly: knot insertion, dyadic refinement                insertion

A change of knots acts on weights as W x_3 R with a matrix R (K', K), one for all inputs or one for each; masks, scales
and base functions never notice. Everything takes (net, theta, ...) and returns new ones; the old ones stay as they are.
"""

from kanref.grids.insertion import insert_knots, insertion_matrix, refine, two_scale
from kanref.grids.least_squares import Transfer, extend, transfer_matrix, update_from_samples
from kanref.grids.rules import knots_from_samples

__all__ = [
    "Transfer",
    "extend",
    "insert_knots",
    "insertion_matrix",
    "knots_from_samples",
    "refine",
    "transfer_matrix",
    "two_scale",
    "update_from_samples",
]
