"""WordNet as claims read it."""

from pathlib import Path

from jaxemb.data import wordnet


def wordnet_in(data: Path) -> Path:
    """The folder of the data set inside `data`: one that is there already, else a new one of this system's package.

    Raises: ValueError for several revisions, of which none is the right one.
    """
    there = sorted(data.glob("wordnet@*"))
    if len(there) > 1:
        raise ValueError(f"{data}: wanted one revision of WordNet, got {[folder.name for folder in there]}")
    return there[0] if there else wordnet.prepare(data)
