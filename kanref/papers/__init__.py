"""The papers' tables and figures, one file each: what the paper reports, what kanref gets, how to run it.

`kanref reproduce NAME` calls `run(folder, progress, short)` of a module here, which returns the text to print and writes
NAME.json and NAME.png to the folder.
"""

EXPERIMENTS = {"staircase": "grid extension on exp(sin(pi x) + y^2), [2, 1, 1] (Liu et al., Fig. 2.3; pykan example 8)"}
