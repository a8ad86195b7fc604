from .adam import adam
from .lbfgs import lbfgs, two_loop
from .result import Result, Stop
