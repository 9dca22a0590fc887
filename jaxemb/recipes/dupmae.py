"""Duplex masked auto-encoding: a text written again from its vector, and its words from its tokens' states.

Paper: Xiao et al. 2023, "RetroMAE v2: Duplex Masked Auto-Encoder For Pre-Training Retrieval-Oriented Language Models",
arXiv:2211.08769 (ACL 2023: RetroMAE-2).  Without its second task it is RetroMAE (arXiv:2205.12035); without both it is
masked language modelling.

What is composed: `data.masking` hides whole words; `losses.token_cross_entropy` scores the masked tokens of a backbone,
and all tokens of `encode.enhanced_decoder`, which sees the text's vector and little else; `losses.bag_of_words` reads
the states of ordinary tokens.  One head, tied to the token table, serves all three.  In use a text is the shortened
vector beside the largest entries of its words (`encode.largest`, `encode.sparse_dot`).
Differences: the loss of a text is a mean over its own tokens and texts weigh alike, where the authors' code takes one
mean over the tokens of a batch; masks are drawn for every row of the decoder, not picked among 256.
Unsure: the paper sums over the words of a text, the code divides by its tokens and weighs with 0.1; the code is the
default (`bow_norm`, `bow_weight`).  The query keeps all its words and is read at the document's.  No part of a score is
scaled to length one, as in the authors' code.
Figures: the paper's and ours stand on the page of claims, for `jaxemb claim dupmae`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from jaxemb import encode, losses
from jaxemb.data import masking
from jaxemb.encode import BertConfig, Sparse, WordScorer
from jaxemb.encode.functional import Functional
from jaxemb.encode.text.enhanced import EnhancedDecoder
from jaxemb.losses.checks import all_values
from jaxemb.losses.reconstruction import POSITIONS
from jaxemb.types import Backbone, Batch, Embedder, Objective, Params, Tokens

HEAD = WordScorer(dense="transform.dense", norm="transform.LayerNorm", decoder="decoder", bias="bias")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the paper varies.

    mask_rate: of the tokens that the encoder does not see; `decoder_mask_rate` of those that a place does not see.
    decoder_weight: of writing the text again from its vector; 0 leaves it out.
    bow_weight, bow_norm: of reading its words from its tokens; 0 leaves it out.
    dense, sparse: in use, how many dimensions and words a text keeps.
    positions: of a text, whose logits of all words are made at a time; fewer are quicker where they fit a cache.
    mask, special: the id of the mask token, and how many ids from 0 on are no words.
    """

    mask_rate: float = 0.3
    decoder_mask_rate: float = 0.5
    decoder_weight: float = 1.0
    bow_weight: float = 0.1
    bow_norm: Literal["tokens", "none"] = "tokens"
    dense: int = 384
    sparse: int = 384
    positions: int = POSITIONS
    mask: int = 4
    special: int = 5


class Duplex(NamedTuple):
    """A backbone with what pre-training puts around it; params have parts `encoder`, `head`, `decoder` and `reduce`."""

    shape: BertConfig
    backbone: Backbone
    head: Functional
    decoder: EnhancedDecoder
    positions: int


def duplex(cfg: Config, shape: BertConfig, *, dtype: DTypeLike = jnp.float32) -> Duplex:
    """The model of a shape.

    Raises: ValueError for rates, weights or sizes that the shape or the losses do not have.
    """
    for rate in (cfg.mask_rate, cfg.decoder_mask_rate):
        masking.check_rate("dupmae", rate)
    if not (cfg.decoder_weight >= 0 and cfg.bow_weight >= 0):
        raise ValueError(f"dupmae: weights must be 0 or more, got {cfg.decoder_weight} and {cfg.bow_weight}")
    if not 0 < cfg.special < shape.vocab_size or not 0 <= cfg.mask < cfg.special:
        raise ValueError(
            f"dupmae: wanted mask below special, and both in the vocabulary of {shape.vocab_size}, "
            f"got {cfg.mask} and {cfg.special}"
        )
    if not (1 <= cfg.dense <= shape.hidden_size and 1 <= cfg.sparse <= shape.vocab_size):
        raise ValueError(
            f"dupmae: wanted dense from 1 to {shape.hidden_size} and sparse from 1 to {shape.vocab_size}, "
            f"got {cfg.dense} and {cfg.sparse}"
        )
    head = encode.word_head(HEAD, shape.vocab_size, shape.hidden_size, dtype=dtype)
    decoder = encode.enhanced_decoder(shape, dtype=dtype)
    return Duplex(shape, encode.bert(shape, dtype=dtype), head, decoder, cfg.positions)


def init(cfg: Config, model: Duplex, key: Array) -> Params:
    """Params at random; a trained encoder takes the place of the part `encoder`."""
    one, other, third, fourth = jax.random.split(key, 4)
    reduced = jax.random.normal(fourth, (model.shape.hidden_size, cfg.dense)) / model.shape.hidden_size**0.5
    return {
        "encoder": model.backbone.init(one),
        "head": model.head.init(other),
        "decoder": model.decoder.init(third),
        "reduce": reduced,
    }


def words(model: Duplex, params: Params, states: Float[Array, "*n d"]) -> Float[Array, "*n v"]:
    """Logits of all words for any states."""
    table = params["encoder"]["embeddings"]["tokens"]["table"]
    flat = model.head.apply(params["head"], "__call__", states.reshape(-1, states.shape[-1]), table)
    return flat.reshape(*states.shape[:-1], -1)


def objective(cfg: Config, model: Duplex) -> Objective:
    """Pre-training: a batch has `text`, tokens as they are, `words`, their numbers (`masking.word_numbers`), and `key`.

    Each term is shown by its name.
    """

    def pretrained(params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]:
        text, numbers = batch["text"], jnp.asarray(batch["words"])
        ids, mask = jnp.asarray(text.ids), jnp.asarray(text.mask)
        covering, corrupting, seeing = jax.random.split(batch["key"], 3)
        chosen = masking.covered(covering, numbers, cfg.mask_rate)
        changed = masking.corrupted(
            corrupting, ids, chosen, mask=cfg.mask, first=cfg.special, vocabulary=model.shape.vocab_size
        )
        states = model.backbone.apply(params["encoder"], text._replace(ids=changed))
        head = partial(words, model, params)
        scored = partial(losses.token_cross_entropy, head=head, positions=model.positions)
        real = numbers >= 0
        few = max(1, round(cfg.mask_rate * ids.shape[1]))  # as `covered` has at most, but for a single longer word
        there, hidden, counted = masking.chosen_first(chosen, few, states, ids, chosen)
        terms = {"masked": scored(there, hidden, counted)}
        if cfg.decoder_weight:
            seen = masking.visible(seeing, numbers, mask, cfg.decoder_mask_rate)
            vector = states[:, 0]
            written = model.decoder.apply(params["decoder"], params["encoder"]["embeddings"], vector, text, seen)
            terms["decoded"] = cfg.decoder_weight * scored(written, ids, real)
        if cfg.bow_weight:
            bag = partial(losses.bag_of_words, head=head, norm=cfg.bow_norm, positions=model.positions)
            terms["words"] = cfg.bow_weight * bag(states, ids, ordinary(text), words=real)
        total = jnp.stack(list(terms.values())).sum(axis=0)
        return total, {name: each.mean() for name, each in terms.items()}

    return pretrained


def ordinary(text: Tokens) -> Array:
    """1 at the real tokens behind the first, which is the text's vector."""
    return jnp.asarray(text.mask).at[:, 0].set(0)


def vectors(model: Duplex, params: Params, text: Tokens) -> tuple[Float[Array, "b d"], Float[Array, "b v"]]:
    """The first token's state, and how much of each word the others have.

    A text of nothing but its first token has nothing of any word.  The last special token is read like any other, so
    that an empty text between two of them has what that one's state tells.

    Raises: ValueError for a text without a token.
    """
    length = jnp.asarray(text.mask).sum(axis=1)
    all_values("dupmae", "tokens of a text", length, "1 or more", lambda counts: counts > 0)
    states, others = model.backbone.apply(params["encoder"], text), ordinary(text)
    head = partial(words, model, params)
    lexical = losses.lexical_pool(states, others, head=head, positions=model.positions)
    return states[:, 0], jnp.where(others.any(axis=1, keepdims=True), lexical, jnp.zeros_like(lexical))


def embedder(cfg: Config, model: Duplex, params: Params) -> Embedder:
    """Rows of queries are the shortened vector and all words; of documents the vector, and the largest words with their
    ids, as float32, which holds them exactly."""
    d, k = cfg.dense, cfg.sparse

    def query(params: Params, text: Tokens) -> Float[Array, "b c"]:
        vector, lexical = vectors(model, params, text)
        return jnp.concatenate([vector @ params["reduce"], lexical], axis=1)

    def document(params: Params, text: Tokens) -> Float[Array, "n e"]:
        vector, lexical = vectors(model, params, text)
        kept = encode.largest(lexical, k)
        return jnp.concatenate([vector @ params["reduce"], kept.values, kept.ids.astype(vector.dtype)], axis=1)

    def score(query: Float[Array, "b c"], document: Float[Array, "n e"]) -> Float[Array, "b n"]:
        kept = Sparse(document[:, d : d + k], document[:, d + k :].astype(jnp.int32))
        return query[:, :d] @ document[:, :d].T + encode.sparse_dot(query[:, d:], kept)

    return Embedder(params, query, document, score)
