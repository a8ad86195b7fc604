"""The papers' tables and figures, one file each: what the paper reports, what kanref gets, how to run it.

`kanref reproduce NAME` calls `run(folder, progress, short, jobs)` of a module here, which returns the text to print and writes
NAME.json and NAME.png to the folder; with `short`, a small part of it in seconds. What is in the JSON is not computed
again. `experiment` is what they share.
"""

EXPERIMENTS = {
    # Liu et al., arXiv 2404.19756
    "hello": "exp(sin(pi x) + y^2) from data to its formula, ten seeds (pykan's hello world)",
    "staircase": "grid extension on exp(sin(pi x) + y^2), [2, 1, 1] (Fig. 2.3; pykan example 8)",
    "threshold": "grids of 3 to 1000 intervals and the interpolation threshold (Fig. 2.3)",
    "scaling": "scaling laws on five toy functions, KANs and MLPs (Fig. 3.1)",
    "special": "fifteen special functions (Table 1)",
    "feynman": "twenty-seven Feynman formulas (Table 2)",
    "poisson": "Poisson's equation by [2, 10, 1] and by MLPs (Fig. 3.3)",
    "continual": "five peaks, one after the other (Fig. 3.4)",
    "toys": "formulas of the interpretability toys (Fig. 4.1)",
    "unsupervised": "relations among six variables (section 4.2)",
    "knots": "the signature of knots (section 4.3)",
    "anderson": "mobility edges of quasiperiodic chains (section 4.4)",
    # Southworth, Actor, Harper and Cyr, arXiv 2603.04827
    "geometry": "spectra, tangent kernels, descent and cost of splines and power ReLUs (section 3, Fig. 3)",
    "regression": "coarse, fine and multilevel on a rotated sum of functions (section 5.1)",
    "burgers": "Burgers' equation across levels (section 5)",
    "jump": "Poisson's equation with a jump of the coefficient (Fig. 6)",
    "allen_cahn": "the Allen-Cahn equation across levels",
    "levels": "Poisson's equation of Liu et al., multilevel and Levenberg-Marquardt",
    "cycles": "V- and W-cycles beside nested iteration at equal work, on four problems",
    # Gao, Ng and Tan, arXiv 2502.06153: reconstructions, as only its abstract could be read
    "transfer": "from one differential equation to others of its family: LoTRA, full fine-tuning, matrix LoRA, from scratch",
    "rates": "a learning rate for every component of an adapter, against one for all",
    "updates": "the tensor rank of real updates, and bounds of what cutting it costs",
    "slim": "Slim KANs on special and toy functions, beside full KANs and MLPs",
    "images": "digits (and MNIST, if there) by Slim KANs, full KANs and MLPs",
}
