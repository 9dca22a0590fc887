"""Compressors one after another."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from jaxemb.types import Compressor, Params


def _part(state: Params, stage: int) -> Params:
    mark = f"{stage}."
    return {key.removeprefix(mark): value for key, value in state.items() if key.startswith(mark)}


def chain(*stages: Compressor) -> Compressor:
    """Compress by each stage in turn, as `chain(truncate(64), int8())`: 64 bytes a vector.

    Every stage but the last must give float vectors.  A query goes through those
    stages as a document does and meets the last one's codes; the codes, bytes and
    scores are the last one's.  The name joins theirs by `+`, and the state holds
    the arrays of stage `i` under `i.<name>`.

    >>> from jaxemb.compress import int8, truncate
    >>> short = chain(truncate(2), int8())
    >>> state = short.fit(jnp.array([[3.0, 4.0, 9.0], [4.0, -3.0, 9.0]]))
    >>> print(short.name, short.bytes_per_vector(3), short.apply(state, jnp.array([[0.3, 0.4, 0.0]])))
    truncate-2+int8 2 [[-128  127]]

    Raises: ValueError for fewer than two stages, for a chain inside a chain, and in
      `fit` when a stage before the last does not give float vectors.
    """
    if len(stages) < 2 or any("+" in stage.name for stage in stages):
        raise ValueError(f"chain: wanted two or more stages, none of them a chain, got {[s.name for s in stages]}")
    before, last = stages[:-1], stages[-1]
    name = "+".join(stage.name for stage in stages)

    def fit(sample: Float[Array, "n d"]) -> Params:
        state: Params = {}
        for i, stage in enumerate(stages):
            learnt = stage.fit(sample)
            state |= {f"{i}.{key}": value for key, value in learnt.items()}
            if i < len(before):
                sample = stage.apply(learnt, sample)
                if not jnp.issubdtype(sample.dtype, jnp.floating):
                    raise ValueError(f"{name}: wanted float vectors from {stage.name}, got {sample.dtype} codes")
        return state

    def lead(state: Params, vectors: Float[Array, "n d"]) -> Float[Array, "n e"]:
        for i, stage in enumerate(before):
            vectors = stage.apply(_part(state, i), vectors)
        return vectors

    def end(state: Params) -> Params:
        return _part(state, len(before))

    def apply(state: Params, vectors: Float[Array, "n d"]) -> Shaped[Array, "n c"]:
        return last.apply(end(state), lead(state, vectors))

    def decode(state: Params, codes: Shaped[Array, "n c"]) -> Float[Array, "n e"]:
        vectors = last.decode(end(state), codes)
        for i, stage in reversed(list(enumerate(before))):
            vectors = stage.decode(_part(state, i), vectors)
        return vectors

    def asymmetric(state: Params, query: Float[Array, "b d"], codes: Shaped[Array, "n c"]) -> Float[Array, "b n"]:
        return last.asymmetric(end(state), lead(state, query), codes)

    def symmetric(state: Params, query: Shaped[Array, "b c"], codes: Shaped[Array, "n c"]) -> Float[Array, "b n"]:
        return last.symmetric(end(state), query, codes)

    def bytes_per_vector(dim: int) -> int:
        for stage in before:
            dim = stage.bytes_per_vector(dim) // 4  # float32, or `fit` would have refused
        return last.bytes_per_vector(dim)

    return Compressor(name, fit, apply, decode, asymmetric, symmetric, bytes_per_vector)
