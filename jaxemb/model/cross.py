"""Cross-encoders: two texts read together, to one score or to one for every label.

    cross = model.load_cross(folder)
    order = model.rank(cross, "how high is it?", ["It is 8,849 m high.", "It is far away."]).documents

Source: Nogueira & Cho 2019, arXiv:1901.04085.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, Float, Int

from jaxemb import encode as encoders
from jaxemb import progress
from jaxemb.data.tokenize import Ids, Tokenizer, check_pairs
from jaxemb.encode.text.heads import Classifier, classified
from jaxemb.model import encoding, precision, prompts
from jaxemb.model.spec import Model, Spec, check_default, check_ids
from jaxemb.types import Encoder, Params

ACTIVATIONS: dict[str, Callable[[np.ndarray], Any]] = {
    "Identity": lambda x: x,
    "ReLU": jax.nn.relu,
    "Sigmoid": jax.nn.sigmoid,
    "Tanh": jnp.tanh,
}
"""What makes scores of logits, by the names of the classes in torch."""


@dataclass(frozen=True, kw_only=True)
class CrossSpec:
    """What a folder says of a cross-encoder.

    backbone: the architecture's shape; one of `encode.FAMILIES`.
    classifier: its head.
    max_length: the longest pair, in tokens.
    activation: one of `ACTIVATIONS`.
    segments: whether the encoder is told which of the two texts a token belongs to.
    prompts: name -> what is put before the first text.
    default_prompt: the name of the prompt for pairs that no other is asked for.
    """

    backbone: Any
    classifier: Classifier
    max_length: int
    activation: str
    segments: bool
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None


class CrossModel(NamedTuple):
    """A classified encoder with the tokenizer and the params that make it score pairs of texts.

    encoder: its vectors are logits, `[b, labels]`.
    """

    encoder: Encoder
    params: Params
    tokenizer: Tokenizer
    spec: CrossSpec
    dtype: jnp.dtype = jnp.dtype("float32")

    @property
    def labels(self) -> tuple[str, ...]:
        """What the scores of a pair are of, in their order."""
        return self.spec.classifier.labels


class Ranking(NamedTuple):
    """Documents, best first; those that score alike keep their order.

    documents: their places in the list that was ranked.
    scores: falling.
    """

    documents: Int[np.ndarray, " k"]
    scores: Float[np.ndarray, " k"]


def make_cross(spec: CrossSpec, params: Params, tokenizer: Tokenizer, *, dtype: DTypeLike = jnp.float32) -> CrossModel:
    """A cross-encoder from its parts.

    Raises: ValueError when the tokenizer has ids or segments that the encoder has no row for, pairs may be longer than
      there are positions, or the activation or the default prompt is unknown.
    """
    if spec.activation not in ACTIVATIONS:
        raise ValueError(f"activation {spec.activation!r} is unknown; there is {', '.join(ACTIVATIONS)}")
    check_default(spec.default_prompt, spec.prompts)
    positions = encoders.family_of(spec.backbone).longest(spec.backbone)
    if not 0 < spec.max_length <= positions:
        raise ValueError(f"max_length must be from 1 to the encoder's {positions} positions, got {spec.max_length}")
    check_ids(tokenizer, spec.backbone.vocab_size)
    tokenizer = tokenizer.limited(spec.max_length, add_special=True)
    if spec.segments:
        kinds, most = getattr(spec.backbone, "type_vocab_size", 0), _most_segments(tokenizer)
        if most > kinds:
            raise ValueError(f"the tokenizer gives pairs {most} segments, the encoder has rows for {kinds}")
    encoder = _built(spec.backbone, spec.classifier, precision.checked(dtype).name)
    return CrossModel(encoder, params, tokenizer, spec, jnp.dtype(dtype))


def _most_segments(tokenizer: Tokenizer) -> int:
    return 1 + max(int(row.max(initial=0)) for row in tokenizer.pairs([("a", "b")]).segments or [])


@functools.lru_cache(maxsize=32)
def _built(backbone: Any, classifier: Classifier, dtype: str) -> Encoder:
    states = encoders.family_of(backbone).backbone(backbone, dtype=jnp.dtype(dtype))
    encoder = classified(states, classifier, backbone.hidden_size, dtype=jnp.dtype(dtype))
    return Encoder(encoder.init, jax.jit(encoder.apply))


def _as_model(cross: CrossModel) -> Model:
    """A cross-encoder as what plans and reads batches knows it: an encoder whose vectors are logits."""
    spec = Spec(
        backbone=cross.spec.backbone,
        pooling=cross.spec.classifier.pooling,
        normalize=False,
        max_length=cross.spec.max_length,
        prompts=cross.spec.prompts,
        default_prompt=cross.spec.default_prompt,
    )
    return Model(cross.encoder, cross.params, cross.tokenizer, spec, cross.dtype)


def _tokenized(cross: CrossModel, pairs: Sequence[Sequence[str]], report: Callable[[str], None]) -> Ids:
    got = [cross.tokenizer.pairs(pairs[i : i + encoding.SLICE]) for i in range(0, len(pairs), encoding.SLICE)]
    truncated = np.concatenate([np.zeros(0, bool), *(one.truncated for one in got)])
    if truncated.any():
        longest = cross.spec.max_length
        report(f"{int(truncated.sum())} of {len(pairs)} pairs were longer than {longest} tokens and lost an end")
    if empty := sum(not text.strip() for pair in pairs for text in pair):
        report(f"{empty} of {2 * len(pairs)} texts are empty; their scores say little")
    rows = [row for one in got for row in one.rows]
    return Ids(rows, truncated, [row for one in got for row in one.segments or []] if cross.spec.segments else None)


def logits(
    cross: CrossModel,
    pairs: Sequence[Sequence[str]],
    *,
    prompt: str | None = None,
    prefix: str | None = None,
    what: str | None = None,
    report: Callable[[str], None] = progress.say,
    devices: Sequence[jax.Device] = (),
) -> Float[np.ndarray, "n labels"]:
    """What the classifier says of every pair, in their order, float32; numbers of any sign, larger is more.

    Neither the order of the pairs nor what they are batched with changes a number by more than rounding.

    Args:
      pairs: two texts each, in the order the model was trained on: usually a query and a document.
      prompt, prefix: what to put before the first text of every pair, as `encode` has it.
      what: the name of a progress bar; None shows none.
      report: told once how many pairs were cut to the encoder's length, and how many texts are empty.
      devices: among which the rows of each batch are given out; by default the one that JAX computes on reads them.
    Raises: TypeError that names the first entry that is no pair of texts; FloatingPointError that names the first pair
      whose logits are not finite.
    """
    if isinstance(pairs, str):
        raise TypeError(f"wanted a list of pairs, got one text, {pairs[:60]!r}")
    pairs, model = list(pairs), _as_model(cross)
    check_pairs(pairs)  # before a prompt makes a pair of what is none
    if before := prompts.resolved(model.spec, prompt, prefix):
        pairs = [(before + first, *rest) for first, *rest in pairs]
    ids = _tokenized(cross, pairs, report)
    at, read = encoding.machine(model, devices), encoding.reader(model, devices)
    batches = encoding.plan([len(row) for row in ids.rows], model.tokenizer.max_length, at).batches
    with progress.bar(what or "", len(pairs), shown=what is not None) as advance:
        numbers = encoding.embedded(
            read, ids.rows, batches, len(cross.labels), advance, lanes=at.lanes, segments=ids.segments
        )
    broken = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(broken):
        raise FloatingPointError(f"the logits of pair {broken[0]} are not finite: {str(pairs[broken[0]])[:60]}")
    return numbers


def score(
    cross: CrossModel, pairs: Sequence[Sequence[str]], **how: Any
) -> Float[np.ndarray, " n"] | Float[np.ndarray, "n labels"]:
    """The scores of pairs: logits after the model's activation; one a pair, or one a label where it has several.

    Args:
      how: as `logits` takes it.
    """
    numbers = np.asarray(ACTIVATIONS[cross.spec.activation](logits(cross, pairs, **how)))
    return numbers[:, 0] if len(cross.labels) == 1 else numbers


def rank(cross: CrossModel, query: str, documents: Sequence[str], *, top: int | None = None, **how: Any) -> Ranking:
    """Documents by their score beside a query, best first.

    Args:
      top: how many; all by default.
      how: as `logits` takes it.
    Raises: ValueError for a model with several labels: which of them ranks is not said; for a `top` below 1.
    """
    if len(cross.labels) != 1:
        raise ValueError(f"rank: wanted a model with one score a pair, got one with labels {', '.join(cross.labels)}")
    if isinstance(documents, str):
        raise TypeError(f"rank: wanted a list of documents, got one text, {documents[:60]!r}")
    if top is not None and top < 1:
        raise ValueError(f"rank: top must be 1 or more, got {top}")
    scores = score(cross, [(query, document) for document in documents], **how)
    order = np.argsort(-scores, kind="stable")[:top]
    return Ranking(order, scores[order])
