"""Every architecture that a model folder can hold, by the name that its `config.json` gives it."""

from typing import Any

from jaxemb.encode.family import Family
from jaxemb.encode.text.bert import BERT
from jaxemb.encode.text.distilbert import DISTILBERT
from jaxemb.encode.text.gemma3 import GEMMA3
from jaxemb.encode.text.gpt2 import GPT2
from jaxemb.encode.text.llama import LLAMA
from jaxemb.encode.text.modernbert import MODERNBERT
from jaxemb.encode.text.mpnet import MPNET
from jaxemb.encode.text.nomic_bert import NOMIC_BERT
from jaxemb.encode.text.roberta import ROBERTA

FAMILIES: tuple[Family, ...] = (
    BERT,
    DISTILBERT,
    GEMMA3,
    GPT2,
    LLAMA,
    MODERNBERT,
    MPNET,
    NOMIC_BERT,
    ROBERTA,
)


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
