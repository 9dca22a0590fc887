"""Every architecture that a model folder can hold, by the name that its `config.json` gives it."""

from typing import Any

from jaxemb.encode.family import Family
from jaxemb.encode.text.bert import BERT

FAMILIES: tuple[Family, ...] = (BERT,)


def by_name(model_type: str) -> Family:
    """The family that answers to a `model_type`.  Raises: ValueError that lists those there are."""
    for family in FAMILIES:
        if model_type in family.names:
            return family
    known = sorted(name for family in FAMILIES for name in family.names)
    raise ValueError(f"model_type {model_type!r} is unknown; there is {', '.join(known)}")


def of(config: Any) -> Family:
    """The family whose shape `config` is.  Raises: TypeError for any other object."""
    for family in FAMILIES:
        if type(config) is family.config:
            return family
    known = [family.config.__name__ for family in FAMILIES]
    raise TypeError(f"{type(config).__name__} is the shape of no family; there is {', '.join(known)}")
