"""WordNet as claims read it."""

from pathlib import Path

from jaxemb.claims.revision import one_revision
from jaxemb.data import wordnet


def wordnet_in(data: Path) -> Path:
    """The folder of the data set inside `data`: one that is there already, else a new one of this system's package.

    Raises: ValueError for several revisions, of which none is the right one.
    """
    return one_revision(data, "wordnet", wordnet.prepare, called="WordNet")
