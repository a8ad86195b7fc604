"""Multilevel training (Southworth, Actor, Harper and Cyr, arXiv 2603.04827): change of basis, transfer between grids,
nested iteration, cycles.

    relu_form     one network in B-splines, in power ReLUs, as a multilayer perceptron
    geometry      what the basis does to descent: spectra, tangent kernels
    transfer      prolongation, restriction and projection between a network and its refinement, as data
    nested        training from level to level
    cycles        V- and W-cycles, back and forth between levels
    free_knots    knots that are trained, and refined by midpoints
"""
