"""The task `python-code` as claims read it."""

from pathlib import Path

from jaxemb.data import python_code


def python_in(data: Path) -> Path:
    """The folder of the task inside `data`: one that is there already, else a new one of what is installed here.

    Raises: ValueError for several revisions, of which none is the right one.
    """
    there = sorted(data.glob(f"{python_code.NAME}@*"))
    if len(there) > 1:
        raise ValueError(f"{data}: wanted one revision of {python_code.NAME}, got {[folder.name for folder in there]}")
    return there[0] if there else python_code.prepare(data)
