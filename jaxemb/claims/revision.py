"""Prepared data sets as claims find them."""

from collections.abc import Callable
from pathlib import Path


def one_revision(data: Path, name: str, prepare: Callable[[Path], Path], *, called: str | None = None) -> Path:
    """The folder of a data set inside `data`: one that is there already, else a new one.

    Args:
      name: what its folders are called, before the revision.
      prepare: makes it, inside the folder given.
      called: what errors call it; its name by default.
    Raises: ValueError for several revisions, of which none is the right one.
    """
    there = sorted(data.glob(f"{name}@*"))
    if len(there) > 1:
        raise ValueError(f"{data}: wanted one revision of {called or name}, got {[folder.name for folder in there]}")
    return there[0] if there else prepare(data)
