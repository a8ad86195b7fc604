"""One thread for LAPACK: the same bits for any number of threads, and no quarrel over the cores.

The factorisations here are of a few hundred columns. BLAS libraries would share them among threads that wait for each other
by spinning: little is gained, the roundings depend on their number, and on a busy machine most of the time goes into waiting.
"""

from contextlib import contextmanager
from functools import cache


@cache
def _controller():
    import scipy.linalg  # noqa: F401, brings a BLAS of its own, which must be there to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_blas_thread():
    """A context, and a decorator: BLAS and LAPACK run on one thread inside, and as before when it is left."""
    with _controller().limit(limits=1, user_api="blas"):
        yield
