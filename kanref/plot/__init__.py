"""Figures of networks, edges, training and fit, as `matplotlib.figure.Figure` objects: nothing is shown or written.

    plot.network(model, X).savefig("network.pdf")        the diagram: every edge's curve in its place      diagram
    plot.edge(model, X, 0, 1, 2)                         one edge, its basis functions, its data           edge
    plot.edges(model, X)                                 all edges in panels                               edges
    plot.training(model.history)                         loss against steps                                training
    plot.fit_quality(y, prediction, splits)              predictions against the truth                     fit_quality
    plot.fields(problem, net, theta)                     solution, reference, error, residual            fields
    plot.Film(model, X)                                  a callback of `fit` that films the diagram        film
"""

from kanref.plot.diagram import network
from kanref.plot.edge import edge
from kanref.plot.edges import edges
from kanref.plot.fields import fields
from kanref.plot.film import Film
from kanref.plot.fit_quality import fit_quality
from kanref.plot.training import training

__all__ = ["Film", "edge", "edges", "fields", "fit_quality", "network", "training"]
