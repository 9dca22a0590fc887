"""Which claims there are; a claim is read where it is asked for."""

import importlib

from jaxemb.claims.claim import Claim

CLAIMS: tuple[str, ...] = (
    "bebr",
    "defsent_plus",
    "distilled_sentence_embedding",
    "dupmae",
    "lg_anna",
    "matryoshka_2d",
    "peg",
    "sesa",
)
"""Claims that have been measured whole: modules of this folder with a `CLAIM`, and recipes of the same name."""


def claim(name: str) -> Claim:
    """The claim of that name.  Raises: ValueError for another name."""
    if name not in CLAIMS:
        raise ValueError(f"no claim {name!r}; there are {', '.join(CLAIMS)}")
    found = importlib.import_module(f"jaxemb.claims.{name}").CLAIM
    assert isinstance(found, Claim)
    return found
