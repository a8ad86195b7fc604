"""From networks to formulas and back (Liu et al., sections 2.5 and 4).

    affine_fit     c f(a x + b) + d to samples of one edge
    snap           suggest, fix, unfix, auto: edges that become formulas
    formula        what a network computes, as sympy expressions
    certificate    how far a formula is from its network; short forms that still agree
    piecewise      a spline edge as the piecewise polynomial it is
    compile        a network that computes an expression
    export         a network as NumPy, C99 and LaTeX
"""

from kanref.symbolic.affine_fit import Fit, fit_affine
from kanref.symbolic.certificate import Certificate, Rounded, certificate, rounded
from kanref.symbolic.compile import compile_expression
from kanref.symbolic.export import to_c, to_latex, to_numpy
from kanref.symbolic.formula import formula
from kanref.symbolic.piecewise import PiecewisePolynomial, piecewise
from kanref.symbolic.snap import Snapped, Suggestions, auto, fix, suggest, unfix

__all__ = [
    "Certificate",
    "Fit",
    "PiecewisePolynomial",
    "Rounded",
    "Snapped",
    "Suggestions",
    "auto",
    "certificate",
    "compile_expression",
    "fit_affine",
    "fix",
    "formula",
    "piecewise",
    "rounded",
    "suggest",
    "to_c",
    "to_latex",
    "to_numpy",
    "unfix",
]
