"""The task `python-code` as claims read it."""

from pathlib import Path

from jaxemb.claims.revision import one_revision
from jaxemb.data import python_code


def python_in(data: Path) -> Path:
    """The folder of the task inside `data`: one that is there already, else a new one of what is installed here.

    Raises: ValueError for several revisions, of which none is the right one.
    """
    return one_revision(data, python_code.NAME, python_code.prepare)
