"""Numba leaves: arrays in, arrays out.

Threads wait for one another by spinning, then by sleeping. GNU OpenMP spins for milliseconds; if another process holds
one of the cores, each of the many short parallel loops of a fit then costs whole time slices, a hundred times its work.
So, unless the user has said otherwise, it is told here, before it starts, to give up spinning after about 0.1 ms.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
