"""Linear algebra on one thread: a sum that is shared among others has other last bits, by how many cores there are.

The matrices here are small, too: threads wait for one another longer than they compute, and burn a core each meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from stockcast_assets.libraries import np

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """What NumPy computes within, also as a function's decorator, it computes on one thread of BLAS.

    It is for the main thread, which runs and commands compute on: OpenBLAS lets no other one change the number.
    """
    with _blas().limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """Looked for once: that takes a hundredth of a second, as much as some of what is computed within."""
    from threadpoolctl import ThreadpoolController

    # It finds what is loaded, as NumPy is once a name of it is used.
    _ = np.ndarray
    return ThreadpoolController().select(user_api="blas")
