"""The one way we compile a kernel: numba, without the interpreter lock, cached on disk.

No fastmath and no parallel loops: sums run in the order written, so a result is the same whatever
batch it is computed in. numba keys its disk cache by the kernel's own file only, so a kernel calls
compiled helpers of its own file, never of another one (an edit there would go unnoticed).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` with numba at its first call for each combination of argument types."""
    jit = numba.njit(nogil=True, cache=True, error_model="numpy")
    return cast(Callable[P, R], jit(function))


def plain(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """`array` contiguous, writable and of `dtype`, copied only if it is not.

    numba compiles anew for a read-only or strided argument (seconds, in the middle of the stream);
    Arrow hands out read-only arrays, so kernels are called with what this returns.
    """
    return np.require(array, dtype, ["C", "W"])
