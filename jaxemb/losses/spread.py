"""Losses of how vectors lie: pairs close together, all else spread out, dimensions that say different things.

Those of a whole batch give one number, in every row: their mean is it, and its gradient.  Memory is that of the vectors
and of `[d, d]`, never of all pairs.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxemb.losses.checks import above_zero, paired, two_rows
from jaxemb.losses.distances import euclidean_distance
from jaxemb.losses.form import declared
from jaxemb.similarity import everywhere, unit, wide

ROWS = 256
"""Rows that `uniformity` compares with all others at a time."""


@declared("pairs")
def alignment(query: Float[Array, "b d"], document: Float[Array, "n d"], *, power: float = 2.0) -> Float[Array, " b"]:
    """Distance of the two vectors of a pair, both scaled to length one, to some power.

    >>> [f"{one:.1f}" for one in alignment(jnp.array([[3.0, 4.0]]), jnp.array([[1.0, 0.0]]))]
    ['0.8']

    Returns: one a pair, in [0, 2^power]; 0 where directions agree.
    Raises: ValueError for a power below 1, which has no gradient at 0.
    Source: Wang & Isola 2020, arXiv:2005.10242, eq. 1, with power 2.
    """
    paired("alignment", query, document)
    if power < 1:
        raise ValueError(f"alignment: power must be 1 or more, got {power}")
    full = wide(query.dtype)
    apart = euclidean_distance(unit(query.astype(full)), unit(document[: query.shape[0]].astype(full)))
    return apart**power


@declared("batch")
def uniformity(
    query: Float[Array, "b d"], document: Float[Array, "n d"], *, sharpness: float = 2.0
) -> Float[Array, " b"]:
    """How crowded a sphere is: the logarithm of the mean of `exp(-t distance^2)` over all pairs of one side.

        loss = log mean_{i < j} exp(-t || u_i - u_j ||^2),   u of length one; the mean of queries and documents

    >>> query = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    >>> [f"{one:.1f}" for one in uniformity(query, query)]
    ['-4.0', '-4.0']

    Args:
      sharpness: t; > 0.
    Returns: in every row, from `-4 t` to 0, where all vectors are one.
    Raises: ValueError for fewer rows than two, or a sharpness that is not above 0.
    Source: Wang & Isola 2020, arXiv:2005.10242, eq. 2, with t = 2.
    """
    paired("uniformity", query, document)
    above_zero("uniformity", sharpness=sharpness)
    two_rows("uniformity", query.shape[0])
    crowded = (_crowded(query, sharpness) + _crowded(document, sharpness)) / 2
    return jnp.broadcast_to(crowded, (query.shape[0],))


def _crowded(vectors: Float[Array, "n d"], sharpness: float) -> Float[Array, ""]:
    rows = everywhere(unit(vectors.astype(wide(vectors.dtype))))
    n = rows.shape[0]

    @jax.checkpoint  # cosines are made again for the gradient, and not kept
    def others(one: tuple[Array, Array]) -> Array:
        at, row = one
        closeness = -sharpness * (2 - 2 * (rows @ row))
        return jax.nn.logsumexp(jnp.where(jnp.arange(n) == at, -jnp.inf, closeness))

    each = jax.lax.map(others, (jnp.arange(n), rows), batch_size=min(n, ROWS))
    return jax.nn.logsumexp(each) - jnp.log(jnp.asarray(n * (n - 1), each.dtype))


@declared("batch")
def barlow_twins(
    query: Float[Array, "b d"], document: Float[Array, "n d"], *, redundancy: float = 0.0051, epsilon: float = 1e-5
) -> Float[Array, " b"]:
    """Dimensions of a query and its own document shall agree, and differ from each other.

    With `C` the correlation, over the batch, of dimension `k` of queries and `l` of their own documents:

        loss = sum_k (1 - C_kk)^2 + redundancy sum_{k != l} C_kl^2

    >>> query = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> [f"{one:.3f}" for one in barlow_twins(query, query[:, ::-1], redundancy=0.5)]
    ['3.000', '3.000', '3.000', '3.000']

    Args:
      redundancy: weight of the second sum; 0 or more.
      epsilon: added to variances, so that a dimension without any has a correlation of 0.
    Returns: in every row; 0 where dimensions agree and are uncorrelated.
    Raises: ValueError for fewer rows than two.
    Source: Zbontar et al. 2021, arXiv:2103.03230, eq. 1 and 2.
    """
    paired("barlow_twins", query, document)
    b, d = query.shape
    two_rows("barlow_twins", b)

    def standard(vectors: Array) -> Array:
        centred = _centred(vectors)
        return centred * jax.lax.rsqrt(jnp.mean(centred**2, axis=0) + epsilon)[None, :]

    correlation = jnp.einsum("ik,il->kl", standard(query), standard(document[:b])) / b
    own = jnp.eye(d, dtype=bool)
    terms = jnp.where(own, (1 - correlation) ** 2, redundancy * correlation**2)
    return jnp.broadcast_to(terms.sum(), (b,))


@declared("batch")
def variance(
    query: Float[Array, "b d"], document: Float[Array, "n d"], *, target: float = 1.0, epsilon: float = 1e-4
) -> Float[Array, " b"]:
    """How far the standard deviation of dimensions is below a target: a guard against collapse.

        loss = mean_k max(0, target - sqrt(var_k + epsilon)),   the mean of queries and documents

    >>> query = jnp.array([[0.5], [-0.5]])  # a variance of 1/2
    >>> [f"{one:.3f}" for one in variance(query, query)]
    ['0.293', '0.293']

    Returns: in every row; 0 where all dimensions vary enough, about `target` where all vectors are one.
    Raises: ValueError for fewer rows than two, or a target that is not above 0.
    Source: Bardes et al. 2022, arXiv:2105.04906 (VICReg), eq. 1.
    """
    paired("variance", query, document)
    above_zero("variance", target=target)
    two_rows("variance", query.shape[0])

    def short(vectors: Array) -> Array:
        centred = _centred(vectors)
        spread = jnp.sqrt(jnp.sum(centred**2, axis=0) / (centred.shape[0] - 1) + epsilon)
        return jnp.mean(jax.nn.relu(target - spread))

    return jnp.broadcast_to((short(query) + short(document)) / 2, (query.shape[0],))


@declared("batch")
def covariance(query: Float[Array, "b d"], document: Float[Array, "n d"]) -> Float[Array, " b"]:
    """How much dimensions vary together: squared covariances of different ones, summed, over how many there are.

        loss = 1/d sum_{k != l} cov_kl^2,   the mean of queries and documents; VICReg takes their sum

    >>> query = jnp.array([[1.0, 2.0], [-1.0, -2.0]])  # a covariance of 4
    >>> print(covariance(query, query))
    [16. 16.]

    Returns: in every row; 0 where dimensions are uncorrelated.
    Raises: ValueError for fewer rows than two.
    Source: Bardes et al. 2022, arXiv:2105.04906 (VICReg), eq. 3 and 4.
    """
    paired("covariance", query, document)
    two_rows("covariance", query.shape[0])

    def together(vectors: Array) -> Array:
        centred = _centred(vectors)
        products = jnp.einsum("ik,il->kl", centred, centred) / (centred.shape[0] - 1)
        return jnp.sum(jnp.where(jnp.eye(products.shape[0], dtype=bool), 0.0, products) ** 2) / products.shape[0]

    return jnp.broadcast_to((together(query) + together(document)) / 2, (query.shape[0],))


@declared("batch")
def global_orthogonal(
    query: Float[Array, "b d"],
    document: Float[Array, "n d"],
    *,
    mean_weight: float = 1.0,
    second_weight: float = 1.0,
) -> Float[Array, " b"]:
    """Vectors of different texts shall be as orthogonal as random ones: cosines of mean 0 and mean square `1/d`.

        loss = w_1 (mean_{i != j} s_ij)^2 + w_2 max(0, mean_{i != j} s_ij^2 - 1/d),   the mean of queries and documents

    Both means come from sums over `[d]` and `[d, d]`, not from all pairs.

    >>> query = jnp.array([[1.0, 0.0], [3.0, 4.0]])  # a cosine of 0.6
    >>> [f"{one:.2f}" for one in global_orthogonal(query, query)]
    ['0.36', '0.36']
    >>> [f"{one:.2f}" for one in global_orthogonal(query, query, mean_weight=0.0)]
    ['0.00', '0.00']

    Args:
      mean_weight, second_weight: of the two parts; 0 or more, not both 0.
    Returns: in every row, in [0, mean_weight + second_weight].
    Raises: ValueError for fewer rows than two, or no weight.
    Source: Zhang et al. 2017, arXiv:1708.06320, eq. 6.
    """
    paired("global_orthogonal", query, document)
    two_rows("global_orthogonal", query.shape[0])
    if min(mean_weight, second_weight) < 0 or mean_weight + second_weight == 0:
        raise ValueError(
            f"global_orthogonal: weights must be 0 or more, and one above 0, got {mean_weight} and {second_weight}"
        )

    def tilted(vectors: Array) -> Array:
        rows = everywhere(unit(vectors.astype(wide(vectors.dtype))))
        n, d = rows.shape
        squares = jnp.sum(rows * rows, axis=1)  # 1, or 0 for a vector of zeros
        pairs = n * (n - 1)
        mean = (jnp.sum(jnp.sum(rows, axis=0) ** 2) - jnp.sum(squares)) / pairs
        second = (jnp.sum(jnp.einsum("ik,il->kl", rows, rows) ** 2) - jnp.sum(squares**2)) / pairs
        return mean_weight * mean**2 + second_weight * jax.nn.relu(second - 1 / d)

    return jnp.broadcast_to((tilted(query) + tilted(document)) / 2, (query.shape[0],))


def _centred(vectors: Array) -> Array:
    """All rows less their mean, on every device."""
    rows = everywhere(vectors.astype(wide(vectors.dtype)))
    return rows - jnp.mean(rows, axis=0)[None, :]
