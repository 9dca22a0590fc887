"""Arrays that stay on disk: mapped, so that the system reads what is asked for and drops it when it likes."""

import tempfile
from pathlib import Path

import numpy as np


def place(array: np.ndarray, on_disk: bool) -> np.ndarray:
    """The array itself, or a copy in a file without a name, which is gone when nobody holds it."""
    if not on_disk:
        return array
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, array.dtype, "w+", shape=array.shape)
    mapped[:] = array
    return mapped


def read(path: Path, on_disk: bool) -> np.ndarray:
    """An array of a `.npy` file, in memory or mapped."""
    return np.load(path, mmap_mode="r" if on_disk else None, allow_pickle=False)


def resident_bytes(array: np.ndarray) -> int:
    """What it takes in memory: nothing when it is mapped."""
    return 0 if isinstance(array, np.memmap) else array.nbytes


def mapped_bytes(array: np.ndarray) -> int:
    """What it takes on disk while it is searched."""
    return array.nbytes if isinstance(array, np.memmap) else 0
