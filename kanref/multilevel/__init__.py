"""Multilevel training (Southworth, Actor, Harper and Cyr, arXiv 2603.04827): change of basis, transfer between grids,
nested iteration, cycles."""
