"""What tasks put on a text backbone: scores of labels for a text or pair, and scores of words for every place.

A head's params stand under `head` beside those of its backbone; the rest of the tree is the backbone's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from jaxemb.encode.functional import Functional, functional
from jaxemb.encode.layers import ACTIVATIONS, Dense, LayerNorm
from jaxemb.encode.pool import POOLINGS
from jaxemb.similarity import wide
from jaxemb.types import Backbone, Encoder, Params, Tokens

HEAD_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {**ACTIVATIONS, "tanh": jnp.tanh}


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """How a family scores labels: a pooled state, perhaps through a dense layer, an activation and a norm, then scores.

    labels: their names, in the order of the scores.
    dense: the foreign name of the first layer; None where the pooled state is scored as it is.
    out: the foreign name of the last.
    pooling: one of `encode.POOLINGS`.
    activation: between the two; one of `HEAD_ACTIVATIONS`.
    bias, out_bias: whether the first layer has one, and the last.
    norm: the foreign name of a norm behind the activation; None where there is none.
    norm_bias, epsilon: of that norm.
    """

    labels: tuple[str, ...]
    dense: str | None
    out: str
    pooling: str = "cls"
    activation: str = "tanh"
    bias: bool = True
    out_bias: bool = True
    norm: str | None = None
    norm_bias: bool = True
    epsilon: float = 1e-12

    def __post_init__(self) -> None:
        among("classifier pooling", self.pooling, POOLINGS)
        among("classifier activation", self.activation, HEAD_ACTIVATIONS)


@dataclass(frozen=True, kw_only=True)
class WordScorer:
    """How a family scores words: every state through a dense layer, an activation and a norm, then one row a word.

    dense, norm, decoder: foreign names of the two layers and of the last product.
    bias: the foreign name of what is added to the scores; None where nothing is.
    activation: one of `HEAD_ACTIVATIONS`.
    tied: whether the rows of the last product are the token table.
    dense_bias, norm_bias, epsilon: of the first layer and of the norm.
    also: other foreign names of the bias, in checkpoints that keep it twice.
    """

    dense: str
    norm: str
    decoder: str
    bias: str | None
    activation: str = "gelu"
    tied: bool = True
    dense_bias: bool = True
    norm_bias: bool = True
    epsilon: float = 1e-12
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        among("activation of the masked-LM head", self.activation, HEAD_ACTIVATIONS)


class Headed(NamedTuple):
    """A backbone with a head that gives numbers for every place.

    init: key -> params.
    apply: (params, tokens) -> `[b, t, v]`.
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Tokens], Float[Array, "b t v"]]


def among(what: str, got: str, known: Mapping[str, Any]) -> None:
    """Raises: ValueError that lists what is known, where `got` is not among it."""
    if got not in known:
        raise ValueError(f"{what} {got!r} is unknown; there is {', '.join(known)}")


class _Scores(nnx.Module):
    def __init__(self, c: Classifier, size: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.dense = Dense(size, size, scale=0.02, dtype=dtype, rngs=rngs, bias=c.bias) if c.dense else None
        self.norm = LayerNorm(size, epsilon=c.epsilon, bias=c.norm_bias) if c.norm else None
        self.out = Dense(size, len(c.labels), scale=0.02, dtype=dtype, rngs=rngs, bias=c.out_bias)
        self.act = HEAD_ACTIVATIONS[c.activation]

    def __call__(self, x: Float[Array, "b d"]) -> Float[Array, "b labels"]:
        x = x if self.dense is None else self.act(self.dense(x))
        return self.out(x if self.norm is None else self.norm(x))


class _Words(nnx.Module):
    def __init__(self, c: WordScorer, words: int, size: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        self.dense = Dense(size, size, scale=0.02, dtype=dtype, rngs=rngs, bias=c.dense_bias)
        self.norm = LayerNorm(size, epsilon=c.epsilon, bias=c.norm_bias)
        self.decoder = None if c.tied else nnx.Param(0.02 * jax.random.normal(rngs.params(), (words, size)))
        self.bias = nnx.Param(jnp.zeros(words)) if c.bias else None
        self.act, self.dtype = HEAD_ACTIVATIONS[c.activation], dtype

    def __call__(self, x: Float[Array, "n d"], table: Float[Array, "v d"]) -> Float[Array, "n v"]:
        x = self.norm(self.act(self.dense(x)))
        rows = table if self.decoder is None else self.decoder[...]
        one, other = x.astype(self.dtype), rows.astype(self.dtype)
        scores = jnp.einsum("nd,vd->nv", one, other, preferred_element_type=wide(self.dtype))
        return scores if self.bias is None else scores + self.bias[...].astype(scores.dtype)[None, :]


def classified(backbone: Backbone, head: Classifier, size: int, *, dtype: DTypeLike = jnp.float32) -> Encoder:
    """A backbone of `size` dimensions whose vectors are scores of labels, `[b, labels]`: logits, of any sign.

    Which of two joined texts a token belongs to is read from `tokens.segments`.
    """
    scores = functional(lambda rngs: _Scores(head, size, dtype=jnp.dtype(dtype), rngs=rngs))

    def init(key: Array) -> Params:
        one, other = jax.random.split(key)
        return {**backbone.init(one), "head": scores.init(other)}

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b labels"]:
        states = POOLINGS[head.pooling](backbone.apply(params, tokens), jnp.asarray(tokens.mask))
        return scores.apply(params["head"], "__call__", states)

    return Encoder(init, apply)


def word_head(head: WordScorer, words: int, size: int, *, dtype: DTypeLike = jnp.float32) -> Functional:
    """The head of `masked_lm` by itself, for states that are made otherwise: `"__call__"` of `(states [n, d], token
    table [words, d])` is logits `[n, words]`.
    """
    return functional(lambda rngs: _Words(head, words, size, dtype=jnp.dtype(dtype), rngs=rngs))


def masked_lm(backbone: Backbone, head: WordScorer, words: int, size: int, *, dtype: DTypeLike = jnp.float32) -> Headed:
    """A backbone of `size` dimensions that scores each of `words` tokens for every place: logits `[b, t, words]`.

    Source: Devlin et al. 2018, arXiv:1810.04805, sec. 3.1; rows shared with the token table: Press & Wolf 2016,
    arXiv:1608.05859.
    """
    scores = word_head(head, words, size, dtype=dtype)

    def init(key: Array) -> Params:
        one, other = jax.random.split(key)
        return {**backbone.init(one), "head": scores.init(other)}

    def apply(params: Params, tokens: Tokens) -> Float[Array, "b t v"]:
        states = backbone.apply(params, tokens)
        table = params["embeddings"]["tokens"]["table"]
        rows = scores.apply(params["head"], "__call__", states.reshape(-1, size), table)
        return rows.reshape(*tokens.ids.shape, words)

    return Headed(init, apply)
