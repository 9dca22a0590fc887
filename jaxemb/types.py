"""The few shapes that pass between folders.

Everything else is a function from one of these to another.  None of them holds
a framework object: params are plain nested dicts of arrays, so that optax,
orbax, merging, sharding and safetensors all see the same tree.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int, Shaped

Params = dict[str, Any]
"""A nested dict whose leaves are arrays."""

Batch = Mapping[str, Any]
"""What an objective reads in one step: names to `Tokens` or arrays, batch axis first."""


class Tokens(NamedTuple):
    """A padded batch of token ids.

    ids: int32 `[b, t]`; what stands where `mask` is 0 never reaches a vector.
    mask: int32 `[b, t]`, 1 on the tokens of the text and 0 on padding.
    segments: int32 `[b, t]`, which of two joined texts a token belongs to, 0 or 1, as cross-encoders read pairs; None
      where all tokens are of the first.
    counted: int32 `[b, t]`, 1 on the tokens that pooling counts, where it leaves out some that attention sees, as those
      of a prompt; None where it counts all of `mask`.
    """

    ids: Int[Array | np.ndarray, "b t"]
    mask: Int[Array | np.ndarray, "b t"]
    segments: Int[Array | np.ndarray, "b t"] | None = None
    counted: Int[Array | np.ndarray, "b t"] | None = None

    @property
    def pooled(self) -> Int[Array | np.ndarray, "b t"]:
        """1 on the tokens that pooling counts."""
        return self.mask if self.counted is None else self.counted


class Grouped(NamedTuple):
    """A batch of texts in groups of like length, so that short texts are not padded to the longest.

    groups: some texts each, padded to their own length.
    places: int32 `[b]`, where in the joined rows of the groups each text stands.
    """

    groups: tuple[Tokens, ...]
    places: Int[Array | np.ndarray, " b"]


class Entry(NamedTuple):
    """One row of a key map: a leaf of our params, and where a foreign checkpoint keeps it.

    ours: the leaf's path, dotted.
    theirs: foreign tensor names, joined along the last axis in this order; with `{layer}` in them, the leaf has a
      leading layer axis and one such set of tensors a layer.
    transpose: whether foreign matrices are stored (out, in); or the order of the foreign axes that makes ours, as
      (2, 3, 1, 0) for convolutions stored (out, in, height, width).
    sizes: how wide each of `theirs` is along the last axis of ours, where they are not all alike.
    first: the foreign layer that our first one is, where lower layers have no such tensor.
    """

    ours: str
    theirs: tuple[str, ...]
    transpose: bool | tuple[int, ...] = False
    sizes: tuple[int, ...] | None = None
    first: int = 0


class Backbone(NamedTuple):
    """Tokens to one vector a token: what pooling, layer-wise losses and late interaction start from.

    init: key -> params.
    apply: (params, tokens) -> the last layer's states `[b, t, d]`.
    hidden: (params, tokens) -> states `[l + 1, b, t, d]`, the embeddings' first, then every layer's.
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Tokens], Float[Array, "b t d"]]
    hidden: Callable[[Params, Tokens], Float[Array, "l b t d"]]


class Encoder(NamedTuple):
    """Tokens to one vector a text, or pixels to one vector an image, without state.

    init: key -> params.
    apply: (params, tokens, or pixels `[b, h, w, c]`) -> vectors `[b, d]`.
    """

    init: Callable[[Array], Params]
    apply: Callable[[Params, Any], Float[Array, "b d"]]


Loss = Callable[..., Float[Array, " b"]]
"""`(query [b, d], document [n, e], **hyper-parameters) -> [b]`: two sets of vectors to one loss a query, for the caller
to weigh; in nats unless it says otherwise.  A loss keeps no state."""


@runtime_checkable
class Objective(Protocol):
    """Params and a batch to one loss an example, and what to show beside it.

    Returns: losses `[b]`, and a dict of scalars (`negatives`: how many a query is compared with).
    """

    def __call__(self, params: Params, batch: Batch) -> tuple[Float[Array, " b"], dict[str, Array]]: ...


class VectorMap(NamedTuple):
    """A learnt map on finished vectors; what is learnt is a small pytree that saves and jits like params.

    fit: sample `[n, d]` -> state.
    apply: (state, vectors `[n, d]`) -> rows `[n, c]`.
    """

    fit: Callable[[Float[Array, "n d"]], Params]
    apply: Callable[[Params, Float[Array, "n d"]], Shaped[Array, "n c"]]


class Compressor(NamedTuple):
    """A `VectorMap` whose rows are codes that can be scored as they are.

    Scores are those of the decoded vectors, steps and offsets included: larger is closer.

    name: what tables and bundles call it, its settings included, as `int8` or `truncate-64`.
    fit: sample `[n, d]` -> state.
    apply: (state, vectors `[n, d]`) -> codes `[n, c]`.
    decode: (state, codes `[n, c]`) -> vectors `[n, d']`.
    asymmetric: (state, float query `[b, d]`, codes `[n, c]`) -> scores `[b, n]`.
    symmetric: (state, codes `[b, c]`, codes `[n, c]`) -> scores `[b, n]`.
    bytes_per_vector: d -> bytes that one code takes, on disk and resident.
    """

    name: str
    fit: Callable[[Float[Array, "n d"]], Params]
    apply: Callable[[Params, Float[Array, "n d"]], Shaped[Array, "n c"]]
    decode: Callable[[Params, Shaped[Array, "n c"]], Float[Array, "n e"]]
    asymmetric: Callable[[Params, Float[Array, "b d"], Shaped[Array, "n c"]], Float[Array, "b n"]]
    symmetric: Callable[[Params, Shaped[Array, "b c"], Shaped[Array, "n c"]], Float[Array, "b n"]]
    bytes_per_vector: Callable[[int], int]


class Embedder(NamedTuple):
    """The waist: recipes make one; index, evaluate and harness take one and never ask how it was trained.

    params: all that was learnt.
    query, document: (params, tokens) -> rows `[b, c]`, vectors or codes.
    score: (query rows, document rows) -> scores `[b, n]`; larger is closer.
    """

    params: Params
    query: Callable[[Params, Tokens], Shaped[Array, "b c"]]
    document: Callable[[Params, Tokens], Shaped[Array, "n e"]]
    score: Callable[[Shaped[Array, "b c"], Shaped[Array, "n e"]], Float[Array, "b n"]]
