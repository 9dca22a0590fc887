"""RoBERTa, XLM-RoBERTa and CamemBERT: a BERT that counts its places from the padding's id.

Sources: Liu et al. 2019, arXiv:1907.11692; Conneau et al. 2020, arXiv:1911.02116; Martin et al. 2020, arXiv:1911.03894.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import DTypeLike

from jaxemb.encode.family import Family, read
from jaxemb.encode.text.bert import FIXED, KEYS, UNUSED, BertConfig, bert
from jaxemb.types import Backbone

CLASSES = {"roberta": "RobertaModel", "xlm-roberta": "XLMRobertaModel", "camembert": "CamembertModel"}
"""What the reference library calls each of the three; they compute the same."""


@dataclass(frozen=True, kw_only=True)
class RobertaConfig(BertConfig):
    """The shape of a RoBERTa, by the names of Hugging Face's `config.json`.

    max_position_embeddings: rows of the position table, of which texts use all but the first `pad_token_id + 1`.
    """

    model_type: str = "roberta"
    vocab_size: int = 50265
    pad_token_id: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model_type not in CLASSES:
            raise ValueError(f"model_type must be one of {list(CLASSES)}, got {self.model_type!r}")
        if not isinstance(self.pad_token_id, int) or not 0 <= self.pad_token_id < self.max_position_embeddings - 1:
            raise ValueError(
                f"pad_token_id must leave some of {self.max_position_embeddings} positions, got {self.pad_token_id!r}"
            )


def parse(config: Mapping[str, Any]) -> RobertaConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    return read(config, RobertaConfig, names=tuple(CLASSES), fixed=FIXED)


def describe(config: RobertaConfig) -> dict[str, Any]:
    """The `config.json` of a shape."""
    return {"architectures": [CLASSES[config.model_type]], **FIXED, **asdict(config)}


def roberta(config: RobertaConfig, *, dtype: DTypeLike = jnp.float32) -> Backbone:
    """A RoBERTa; as `bert` in all else.

    The first token reads the row after the padding's of the position table.  A padding token that is written in a text
    reads the padding's row and counts no place, as in the reference.
    """
    return bert(config, dtype=dtype, pad=config.pad_token_id)


ROBERTA = Family(
    names=tuple(CLASSES),
    config=RobertaConfig,
    parse=parse,
    describe=describe,
    backbone=roberta,
    keys=lambda config: KEYS,
    prefix="roberta.",
    unused=UNUSED,
    longest=lambda config: config.max_position_embeddings - config.pad_token_id - 1,
)
