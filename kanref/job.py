"""The main job: from a table to a trained network, judged beside a linear model and a constant, and a folder of results.

    prepared = prepare(read_csv("data.csv"), "price")     schema, arrays, split
    fitted = train(prepared)                              fit_table does both
    write_results(fitted, "kanref-out")
    predict_table(fitted.model, read_csv("new.csv"))

Choices that are left open are made like this. The network has one hidden level of min(2 n + 1, 10) nodes, fewer if its
parameters on the coarsest grid would outnumber half the training values; beside it a network without hidden nodes, a sum
of functions of one variable, is trained too, and the one of lower validation loss is kept: on small and noisy tables
that is often the sum. Grids go from coarse to fine as long as parameters stay below half the training values, and of all
grids and steps the parameters of lowest validation loss are kept. L-BFGS, or Adam with minibatches for large tables.
Moving the knots of hidden levels to their inputs on the way was measured not to help, so grids stay uniform.
"""

import json
import time
import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np

import kanref
from kanref import bases, objectives, tables
from kanref import arrays as border
from kanref.io import write_atomically
from kanref.model import Model
from kanref.network import KAN, Layer
from kanref.optimize import schedules
from kanref.tables import Encoded, Schema, Table, TableError, fit_schema, write_csv
from kanref.terms import Linear
from kanref.weights import Full

SPLITS = ("train", "validation", "test")
MIN_ROWS = 20
INTERVALS = (3, 5, 10, 20)
MAX_HIDDEN = 10
LARGE = 3_000_000  # training rows times edges from which minibatches are the quicker way
BATCH = 256
STEPS, PATIENCE = 500, 50  # L-BFGS, on every grid
PASSES, PATIENT_PASSES, RATE = 30, 6, 1e-2  # Adam: passes through the rows, on every grid


@dataclass(frozen=True, eq=False)
class Prepared:
    """A table made ready. splits: {"train": positions in `data`, "validation": ..., "test": ...}."""

    table: Table
    schema: Schema
    data: Encoded
    splits: dict[str, np.ndarray]
    seed: int

    @property
    def task(self):
        """As a `Model` names it."""
        if self.schema.task == "regression":
            return "regression"
        return "binary" if len(self.schema.labels) == 2 else "classification"

    @property
    def outputs(self):
        return len(self.schema.labels) if self.task == "classification" else 1

    def part(self, split):
        """X and y of a split."""
        return self.data.X[self.splits[split]], self.data.y[self.splits[split]]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a job gives. model: carries the schema in `extra`; metrics: {model: {split: {figure: value}}} in the target's
    own units; candidates: one dictionary for each network that was tried; predictions: {column: values}, a row for each
    row of the table; interrupted: by Ctrl-C, with the best so far."""

    prepared: Prepared
    model: Model
    metrics: dict
    candidates: list
    predictions: dict
    settings: dict
    seconds: float

    @property
    def schema(self):
        return self.prepared.schema

    @property
    def splits(self):
        return self.prepared.splits

    @property
    def interrupted(self):
        return self.model.history.interrupted
