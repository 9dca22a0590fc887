"""DistilBERT: a BERT without segments.  Source: Sanh et al. 2019, arXiv:1910.01108."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import DTypeLike

from jaxemb.encode.family import Family, dense, norm, read
from jaxemb.encode.text.bert import BertConfig, bert
from jaxemb.types import Backbone, Entry


@dataclass(frozen=True, kw_only=True)
class DistilBertConfig:
    """The shape of a DistilBERT, by the names of Hugging Face's `config.json`."""

    vocab_size: int = 30522
    dim: int = 768
    n_layers: int = 6
    n_heads: int = 12
    hidden_dim: int = 3072
    max_position_embeddings: int = 512
    activation: str = "gelu"
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        _ = self.bert  # which checks the numbers

    @property
    def hidden_size(self) -> int:
        """Dimensions of a state: `dim`, by the name that other families give it."""
        return self.dim

    @property
    def bert(self) -> BertConfig:
        """The BERT that it is."""
        return BertConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.dim,
            num_hidden_layers=self.n_layers,
            num_attention_heads=self.n_heads,
            intermediate_size=self.hidden_dim,
            max_position_embeddings=self.max_position_embeddings,
            type_vocab_size=0,
            hidden_act=self.activation,
            layer_norm_eps=1e-12,
            initializer_range=self.initializer_range,
        )


# Dropout, heads, and how the position table began: a checkpoint has it as it ended.
IRRELEVANT = {"dropout", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds", "tie_weights_"}


def parse(config: Mapping[str, Any]) -> DistilBertConfig:
    """Read a `config.json`.  Raises: ValueError for another model, by the key that says so."""
    return read(config, DistilBertConfig, names=("distilbert",), fixed={}, irrelevant=IRRELEVANT)


def describe(config: DistilBertConfig) -> dict[str, Any]:
    """The `config.json` of a shape."""
    return {"model_type": "distilbert", "architectures": ["DistilBertModel"], **asdict(config), "pad_token_id": 0}


def distilbert(config: DistilBertConfig, *, dtype: DTypeLike = jnp.float32) -> Backbone:
    """A DistilBERT; as `bert` in all else.  Which of two joined texts a token belongs to it does not read."""
    return bert(config.bert, dtype=dtype)


_LAYER = "transformer.layer.{layer}"
KEYS: list[Entry] = [
    Entry("embeddings.tokens.table", ("embeddings.word_embeddings.weight",)),
    Entry("embeddings.positions.table", ("embeddings.position_embeddings.weight",)),
    *norm("embeddings.norm", "embeddings.LayerNorm"),
    *dense("blocks.qkv", *(f"{_LAYER}.attention.{name}_lin" for name in "qkv")),
    *dense("blocks.out", f"{_LAYER}.attention.out_lin"),
    *norm("blocks.attention_norm", f"{_LAYER}.sa_layer_norm"),
    *dense("blocks.up", f"{_LAYER}.ffn.lin1"),
    *dense("blocks.down", f"{_LAYER}.ffn.lin2"),
    *norm("blocks.norm", f"{_LAYER}.output_layer_norm"),
]
"""Every weight of ours and the Hugging Face names it comes from."""

DISTILBERT = Family(
    names=("distilbert",),
    config=DistilBertConfig,
    parse=parse,
    describe=describe,
    backbone=distilbert,
    keys=lambda config: KEYS,
    prefix="distilbert.",
    unused=("embeddings.position_ids",),
)
