"""Losses that ask every exit of an encoder to serve: four published 2-D matryoshka losses, from any loss.

All take vectors `[l, b, d]` and `[l, n, d]`, one set a layer, the last layer's at the end, and give one loss a query.
Alignment is of two softmaxes over the dimensions of a vector, of query `i` and its own document `i`, and is their mean.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxemb.losses.checks import above_zero, all_values, finite
from jaxemb.losses.distillation import kullback_leibler
from jaxemb.losses.form import form_for, with_form
from jaxemb.losses.nested import LAYERED
from jaxemb.types import Loss

Factor = Callable[[Float[Array, ""] | int], Float[Array, ""] | float]
"""From a layer's number, counted from 1, to what its part of a loss is multiplied by."""


def inverse(layer: Float[Array, ""] | int) -> Float[Array, ""] | float:
    """`1 / n`: what lower layers weigh more."""
    return 1 / layer


def constant(value: float, layer: Float[Array, ""] | int) -> float:
    """All layers alike; `partial(constant, 1.0)` weighs none."""
    return value


def rising(layer: Float[Array, ""] | int) -> Float[Array, ""]:
    """`log(2 + n)`."""
    return jnp.log(jnp.asarray(2.0 + layer, jnp.float32))


def toward(
    student: Float[Array, "n d"],
    teacher: Float[Array, "n d"],
    temperature: float,
    *,
    stop: bool = True,
) -> Float[Array, " n"]:
    """The divergence of a vector's softmax over its dimensions from its teacher's, in nats; 0 where they agree.

    >>> [f"{one:.3f}" for one in toward(jnp.array([[0.0, 0.0]]), jnp.array([[0.0, 1.0]]), 1.0)]
    ['0.111']

    Args:
      temperature: divides both; > 0.  Far below the size of the numbers both are nearly one-hot: see `entropy`.
      stop: whether no gradient goes to the teacher.
    """
    above_zero("toward", temperature=temperature)
    teacher = lax.stop_gradient(teacher) if stop else teacher
    ours, theirs = (side.astype(jnp.float32) / temperature for side in (student, teacher))
    return kullback_leibler(ours, theirs)


def entropy(vectors: Float[Array, "n d"], temperature: float) -> Float[Array, ""]:
    """The mean entropy, in nats, of the softmax over dimensions: near 0 it teaches one dimension, at `log(d)` none."""
    above_zero("entropy", temperature=temperature)
    log_share = jax.nn.log_softmax(vectors.astype(jnp.float32) / temperature, axis=-1)
    return -jnp.sum(jnp.exp(log_share) * log_share, axis=-1).mean()


def random_exit(
    loss: Loss,
    sizes: Sequence[int],
    *,
    temperature: float | None = 1.0,
    weight: Factor = inverse,
    alignment: Factor = rising,
    stop_teacher: bool = False,
) -> Loss:
    """One lower layer `m` and one size `d` a step, drawn by `key`, beside the whole vector of the last layer `n`.

        l(V_n) + l(V_n^d) + w(m) (l(V_m) + l(V_m^d)) + t a(m) KL(softmax(V_n / t) || softmax(V_m / t))

    Args:
      sizes: of which one is drawn, all below the whole.
      temperature: `t`; None leaves alignment out.
      weight, alignment: `w` and `a` of a layer.
      stop_teacher: whether alignment leaves the last layer alone; the sources do not, and it steadies training.
    Returns: a loss that takes `key`, the same on every device.
    Raises: ValueError for sizes or a temperature that make no sense here; when it is called, for one layer, for a size
      that is not below the whole, or for vectors that are not finite.
    Source: Li et al. 2024, arXiv:2402.14776, and the trainer of SeanLee97/AnglE of early 2024.
    """
    cut = _drawn("random_exit", loss, sizes, temperature)

    def drawn(query: Float[Array, "l b d"], document: Float[Array, "l n d"], *, key: Array, **kwargs: Any) -> Array:
        count = _layers("random_exit", query, document, fewest=2)
        if max(sizes) >= query.shape[2]:
            raise ValueError(f"random_exit: wanted sizes below {query.shape[2]}, the whole, got {list(sizes)}")
        of_layer, of_size = jax.random.split(key)
        layer = jax.random.randint(of_layer, (), 0, count - 1)
        lower, last = (query[layer], document[layer]), (query[-1], document[-1])
        number = (layer + 1).astype(jnp.float32)
        total = loss(*last, **kwargs) + cut(of_size, *last, kwargs)
        total += weight(number) * (loss(*lower, **kwargs) + cut(of_size, *lower, kwargs))
        if temperature is not None:
            total += temperature * alignment(number) * _aligned(lower, last, temperature, stop_teacher)
        return total

    return with_form(drawn, LAYERED)


def random_layer(
    loss: Loss,
    sizes: Sequence[int],
    *,
    temperature: float | None = 0.3,
    weight: Factor = inverse,
    samples: int = 1,
    stop_teacher: bool = False,
) -> Loss:
    """A random size of the last layer, and of some random lower ones, each drawn afresh: sentence-transformers' way.

        l(V_n^d) + sum_s ( w(m_s) / samples * l(V_{m_s}^{d_s}) + t KL(softmax(V_n / t) || softmax(V_{m_s} / t)) )

    The whole vector is asked only when it is drawn.  Args, returns and raises as `random_exit`, but for:

    Args:
      sizes: of which one is drawn; the whole among them if it shall serve.
      samples: lower layers a step, no one twice.
    Source: `Matryoshka2dLoss` of sentence-transformers, with one size a step.
    """
    cut = _drawn("random_layer", loss, sizes, temperature)
    if samples < 1:
        raise ValueError(f"random_layer: wanted 1 sample or more, got {samples}")

    def drawn(query: Float[Array, "l b d"], document: Float[Array, "l n d"], *, key: Array, **kwargs: Any) -> Array:
        count = _layers("random_layer", query, document, fewest=1 + samples)
        of_layer, of_size, *others = jax.random.split(key, 2 + samples)
        last = query[-1], document[-1]
        total = cut(of_size, *last, kwargs)
        for layer, own in zip(jax.random.permutation(of_layer, count - 1)[:samples], others, strict=True):
            lower = query[layer], document[layer]
            total += weight((layer + 1).astype(jnp.float32)) / samples * cut(own, *lower, kwargs)
            if temperature is not None:
                total += temperature * _aligned(lower, last, temperature, stop_teacher)
        return total

    return with_form(drawn, LAYERED)


def every_exit(
    loss: Loss, pairs: Sequence[tuple[int, int]], *, temperature: float | None = 0.3, stop_teacher: bool = False
) -> Loss:
    """The sum over fixed pairs of a layer, counted from 1, and a size; whole lower layers are aligned to the last.

        sum_(m, d) l(V_m^d) + t sum_(m < n) KL(softmax(V_n / t) || softmax(V_m / t))

    Args, returns and raises as `random_exit`, without a key.
    Source: Zhuang et al. 2024, arXiv:2410.13230 (Starbucks), fine-tuning.
    """
    if not pairs or len(set(pairs)) != len(pairs) or min(min(pair) for pair in pairs) < 1:
        raise ValueError(f"every_exit: wanted distinct pairs of a layer and a size, both from 1, got {list(pairs)}")
    _check_temperature("every_exit", temperature)
    form_for("every_exit", loss)

    def all_of(query: Float[Array, "l b d"], document: Float[Array, "l n d"], **kwargs: Any) -> Array:
        count, size = _layers("every_exit", query, document), query.shape[2]
        for layer, wanted in pairs:
            if layer > count or wanted > size:
                raise ValueError(f"every_exit: layer {layer} at {wanted} of {count} layers of {size} dimensions")
        parts = [loss(query[m - 1, :, :d], document[m - 1, :, :d], **kwargs) for m, d in pairs]
        if temperature is not None:
            lower = [(query[m - 1], document[m - 1]) for m in sorted({m for m, _ in pairs if m < count})]
            last = query[-1], document[-1]
            parts += [temperature * _aligned(one, last, temperature, stop_teacher) for one in lower]
        return sum(parts[1:], start=parts[0])

    return with_form(all_of, LAYERED)


def every_layer(loss: Loss, size: int, *, temperature: float = 1.0, squared: float = 1.0) -> Loss:
    """Every layer at one size, each with its first dimensions taught by its own principal ones.

        l(V_n) + l(V_n^k) + A(V_n) + 1 / (n - 1) sum_{m < n} (l(V_m^k) + A(V_m)) / (1 + log m)
        A(V) = t KL(softmax(P(V) / t) || softmax(V^k / t)) + squared * mean((P(V) - V^k)^2)

    `P(V)` is `principal` of both sides' vectors together; no gradient goes to it.  Returns and raises as `random_exit`,
    without a key, and for more dimensions than rows or than the vectors have.

    Args:
      size: `k`.
    Source: Li et al. 2025, ICLR (ESE: Espresso Sentence Embeddings), layers counted as in the paper; the code of
      SeanLee97/AnglE counts the embeddings' output as the first layer and leaves the last but one out.
    """
    if size < 1:
        raise ValueError(f"every_layer: wanted 1 dimension or more, got {size}")
    _check_temperature("every_layer", temperature)
    form_for("every_layer", loss)

    def all_of(query: Float[Array, "l b d"], document: Float[Array, "l n d"], **kwargs: Any) -> Array:
        count = _layers("every_layer", query, document, fewest=2)
        if size > query.shape[2]:
            raise ValueError(f"every_layer: a prefix of {size} in vectors of {query.shape[2]} dimensions")

        def one(m: int) -> Array:
            sides = query[m], document[m]
            first = loss(sides[0][:, :size], sides[1][:, :size], **kwargs)
            return first + _compressed(*sides, size, temperature, squared)

        lower = [one(m - 1) / (1 + math.log(m)) for m in range(1, count)]
        return loss(query[-1], document[-1], **kwargs) + one(count - 1) + sum(lower[1:], start=lower[0]) / (count - 1)

    return with_form(all_of, LAYERED)


def principal(vectors: Float[Array, "n d"], size: int) -> Float[Array, "n e"]:
    """The vectors along the strongest directions of `softmax(V^T V / sqrt(d))`, each times its singular value.

    Raises: ValueError for more directions than there are rows or dimensions.
    Source: Li et al. 2025 (ESE), sec. 3.
    """
    if not 1 <= size <= min(vectors.shape):
        raise ValueError(
            f"principal: {vectors.shape[0]} vectors of {vectors.shape[1]} dimensions have 1 to {min(vectors.shape)} "
            f"directions, got {size}"
        )
    full = vectors.astype(jnp.float32)
    gram = jnp.einsum("nd,ne->de", full, full) * full.shape[1] ** -0.5
    directions, strengths, _ = jnp.linalg.svd(jax.nn.softmax(gram, axis=-1))
    return jnp.einsum("nd,de->ne", full, directions[:, :size]) * strengths[None, :size]


def _compressed(query: Array, document: Array, size: int, temperature: float, squared: float) -> Float[Array, " b"]:
    b, both = query.shape[0], jnp.concatenate([query, document])
    target = lax.stop_gradient(principal(lax.stop_gradient(both), size))
    first = both[:, :size].astype(jnp.float32)
    each = temperature * toward(first, target, temperature) + squared * ((first - target) ** 2).mean(axis=1)
    return (each[:b] + each[b : 2 * b]) / 2


def _aligned(
    student: tuple[Array, Array], teacher: tuple[Array, Array], temperature: float, stop: bool
) -> Float[Array, " b"]:
    b = student[0].shape[0]
    query, document = (
        toward(ours[:b], theirs[:b], temperature, stop=stop) for ours, theirs in zip(student, teacher, strict=True)
    )
    return (query + document) / 2


def _drawn(name: str, loss: Loss, sizes: Sequence[int], temperature: float | None) -> Callable[..., Array]:
    """(key, query, document, kwargs) -> the loss of a prefix whose length is drawn, the same for a key."""
    if not sizes or len(set(sizes)) != len(sizes) or min(sizes) < 1:
        raise ValueError(f"{name}: sizes must be distinct and 1 or more, got {list(sizes)}")
    _check_temperature(name, temperature)
    form_for(name, loss)

    def cut(key: Array, query: Array, document: Array, kwargs: dict[str, Any]) -> Float[Array, " b"]:
        if max(sizes) > query.shape[1]:
            raise ValueError(f"{name}: a prefix of {max(sizes)} in vectors of {query.shape[1]} dimensions")
        # Not a mask: a loss that reads parts of a vector, as `angle`, has to know its true length.
        ways = [lambda q, d, size=size: loss(q[:, :size], d[:, :size], **kwargs) for size in sizes]
        return lax.switch(jax.random.randint(key, (), 0, len(sizes)), ways, query, document)

    return cut


def _check_temperature(name: str, temperature: float | None) -> None:
    if temperature is not None:
        above_zero(name, temperature=temperature)


def _layers(name: str, query: Array, document: Array, fewest: int = 1) -> int:
    if query.ndim != 3 or document.ndim != 3 or query.shape[::2] != document.shape[::2] or len(query) < fewest:
        raise ValueError(
            f"{name}: wanted vectors of {fewest} layers or more on both sides, [layers, rows, dimensions], "
            f"got {query.shape} and {document.shape}"
        )
    for what, side in (("query", query), ("document", document)):
        all_values(name, f"{what} vectors of all layers", side, "finite", finite)
    return len(query)
