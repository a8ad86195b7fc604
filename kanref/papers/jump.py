"""Poisson's equation with a jump of the coefficient, across levels (multilevel paper, section 5, Fig. 6).

The paper: the problem of `pde.poisson_jump`; points are those of an even 51 x 51 grid, 2401 inside, 200 on the boundary, 49 on the
interface; weights 0.01, 1 and 0.1. A KAN [2, 5, 1] of cubic B-splines alone with the level set |x| as a third input, on 4, 8,
16, 32 intervals: 140, 220, 380, 700 parameters; an MLP [2, 16, 16, 1] with 352. Adam with rate 1e-2, ramped up from 1e-4 in ten steps
at the start and after every refinement, residual-based attention with mu = 1e-4, 1250 steps on each of four levels. It shows
curves of the relative L2 error and prints no numbers.

What it leaves open: whether the loss has sums or means (here means; with sums the boundary weighs twelve times less beside the
equation, and errors are larger), what becomes of hidden values outside the knots (nothing: splines end there), the MLP's
activation (tanh; 352 parameters are without the bias of the output, which is trained here). "relu" trains the same KAN by the
weights of its power ReLUs (`InBasis`). Adam's last iterate counts.

Rows with L-BFGS have the paper's 1250 evaluations on each level, rows with LM, Levenberg-Marquardt, far fewer steps that cost more
each: compare seconds. Attention is for Adam; the others minimise one function.

The limit of the paper's set-up is not the optimiser: on 32 intervals, splines of x and of |x| have more coefficients for x > 0
than the grid has lines there, so a loss at the grid's points can be made small with errors between the lines. The rows "best"
have as many points, but Sobol points, no two of them on one line; degree 5, whose second derivatives are smooth; hidden knots
moved to the activations before every level; and a start that is the best by its loss of several, trained on the two coarsest
levels. `seconds` counts them all.

Errors are relative L2 on an even grid of 101 x 101 points.
"""

import os
from dataclasses import dataclass, field
from functools import partial
from time import process_time

import numpy as np

from kanref import grids, optimize
from kanref.mlp import mlp
from kanref.mlp import start as mlp_start
from kanref.multilevel.nested import Stage, least_squares, nested
from kanref.multilevel.relu_form import in_relus
from kanref.network import kan
from kanref.optimize import schedules
from kanref.papers.experiment import cells
from kanref.pde.poisson_jump import grid, poisson_jump
from kanref.pde.weighting import Attention
from kanref.words import aligned

PROBLEM = poisson_jump()
PAPER = {4: 140, 8: 220, 16: 380, 32: 700}  # parameters
SEEDS = (0, 1, 2)
