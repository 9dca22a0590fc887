"""What products may be taken in, and that float32 means float32."""

from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike

PRECISIONS = ("float32", "bfloat16", "float16")
"""What an encoder multiplies in; others would give wrong vectors, or silently be one of these."""


def checked(dtype: DTypeLike) -> jnp.dtype:
    """`dtype`, if products may be taken in it.

    Raises: ValueError for any other.

    >>> checked("bfloat16").name
    'bfloat16'
    """
    try:
        found = None if dtype is None else jnp.dtype(dtype)
    except TypeError:  # no name of a type
        found = None
    if found is None or found.name not in PRECISIONS:
        raise ValueError(f"dtype must be one of {', '.join(PRECISIONS)}, got {found.name if found else repr(dtype)}")
    return found


def exact(dtype: DTypeLike) -> AbstractContextManager[object]:
    """Inside it float32 means float32 on accelerators, too, which would round it; products in less are as they were."""
    return jax.default_matmul_precision("highest" if jnp.dtype(dtype) == jnp.float32 else "default")
