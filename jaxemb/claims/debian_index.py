"""The Debian package index as claims read it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxemb.claims.revision import one_revision
from jaxemb.data import debian
from jaxemb.data.debian import Package


def debian_in(data: Path) -> Path:
    """The folder of the data set inside `data`: one that is there already, else a new one of this system's release.

    Raises: ValueError for several revisions, of which none is the right one.
    """
    return one_revision(data, "debian", debian.prepare, called="the Debian index")


def drawn(packages: Sequence[Package], count: int | None, *, seed: int) -> list[Package]:
    """So many of the packages in an order of `seed`, in which siblings do not stand together; None for all.

    Raises: ValueError when there are fewer.
    """
    if count is not None and count > len(packages):
        raise ValueError(f"drawn: wanted {count} packages of {len(packages)}")
    order = np.random.default_rng(seed).permutation(len(packages))[:count]
    return [packages[place] for place in order]
