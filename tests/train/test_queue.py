"""A queue holds what was pushed last, and stands for one big batch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from killable import source

from jaxemb import data, encode, losses, train
from jaxemb.losses import across_devices, info_nce, mask_duplicates, matryoshka, tiled
from jaxemb.train import Queue, Term, empty_queue, push, queued, with_queue
from jaxemb.types import Tokens

pytestmark = pytest.mark.usefixtures("compiled_quickly")
LOSS = mask_duplicates(partial(info_nce, temperature=0.2))


def vectors(seed: int, n: int, d: int = 4) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)), jnp.float32)


def keys(start: int, n: int) -> jax.Array:
    return jnp.arange(start, start + n, dtype=jnp.int32)


def rows(*numbers: float) -> tuple[jax.Array, jax.Array]:
    """Rows of one number, whose key is ten times that number."""
    return jnp.array(numbers, jnp.float32)[:, None], jnp.array([int(10 * n) for n in numbers], jnp.int32)


def told(queue: Queue) -> tuple[list[float], list[int], int, int]:
    return queue.vectors[:, 0].tolist(), queue.keys[:, 0].tolist(), int(queue.next), int(queue.filled)


def test_the_oldest_make_way():
    queue = empty_queue(5, 1)
    assert told(queue) == ([0, 0, 0, 0, 0], [-1] * 5, 0, 0)
    queue = push(queue, *rows(1, 2))
    assert told(queue) == ([1, 2, 0, 0, 0], [10, 20, -1, -1, -1], 2, 2)
    queue = push(push(queue, *rows(3, 4)), *rows(5, 6))  # five is no multiple of two
    assert told(queue) == ([6, 2, 3, 4, 5], [60, 20, 30, 40, 50], 1, 5)
    assert told(push(queue, *rows(7)))[0] == [6, 7, 3, 4, 5]
    assert told(push(queue, *rows(7, 8, 9, 10, 11)))[0] == [11, 7, 8, 9, 10]


def test_of_more_than_it_holds_the_last_stay():
    queue = push(push(empty_queue(3, 1), *rows(9)), *rows(1, 2, 3, 4, 5))
    assert told(queue) == ([5, 3, 4], [50, 30, 40], 1, 3)


def test_pushing_compiles_once():
    step = jax.jit(push)
    queue = empty_queue(3, 4)
    for turn in range(4):
        queue = step(queue, vectors(turn, 2), keys(turn, 2))
    assert step._cache_size() == 1


def by_hand(query, document, key, ignore=None) -> np.ndarray:
    """InfoNCE in NumPy, without documents that have a key of the query's own."""
    query, document, key = (np.asarray(each) for each in (query, document, key))
    key = key if key.ndim == 2 else key[:, None]
    q, d = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (query, document))
    b, scores = len(q), np.exp(q @ d.T / 0.2)
    masked = (key[:b, None] == key[None]).any(axis=2) | (False if ignore is None else np.asarray(ignore))
    own = np.diagonal(scores)
    return -np.log(own / np.where(masked & ~np.eye(b, len(d), dtype=bool), 0, scores).sum(axis=1))


def joined(*parts) -> np.ndarray:
    return np.concatenate([np.asarray(part) for part in parts])


@jax.jit
def longer(queue, query, document, key, ignore=None):
    return with_queue(LOSS, queue)(query, document, document_key=key, ignore=ignore)


def filled(size: int, vectors, keys, dtype=jnp.float32) -> Queue:
    """A queue with these rows in its first places, put there by hand."""
    queue, n = empty_queue(size, vectors.shape[1], dtype=dtype), len(vectors)
    rest = np.full((size - n, *keys.shape[1:]), -1)
    held = joined(vectors, queue.vectors[n:]), joined(keys, rest).reshape(size, -1)
    return Queue(jnp.asarray(held[0], dtype), jnp.asarray(held[1], jnp.int32), jnp.int32(n % size), jnp.int32(n))


QUERY, DOCUMENT, PAST = vectors(0, 3), vectors(1, 5), vectors(2, 4)


def test_an_empty_queue_adds_nothing_and_a_part_of_one_its_part():
    plain = by_hand(QUERY, DOCUMENT, keys(0, 5))
    np.testing.assert_allclose(longer(empty_queue(6, 4), QUERY, DOCUMENT, keys(0, 5)), plain, rtol=1e-5)
    got = longer(filled(6, PAST, keys(7, 4)), QUERY, DOCUMENT, keys(0, 5))
    wanted = by_hand(QUERY, joined(DOCUMENT, PAST), joined(keys(0, 5), keys(7, 4)))
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert (wanted > plain).all()
    narrow = filled(6, PAST, keys(7, 4), jnp.bfloat16)
    assert push(narrow, DOCUMENT, keys(0, 5)).vectors.dtype == jnp.bfloat16
    np.testing.assert_allclose(longer(narrow, QUERY, DOCUMENT, keys(0, 5)), wanted, rtol=2e-2)


def test_a_document_that_comes_round_is_no_negative_of_its_own_query():
    got = longer(filled(6, PAST, keys(1, 4)), QUERY, DOCUMENT, keys(0, 5))
    wanted = by_hand(QUERY, joined(DOCUMENT, PAST), joined(keys(0, 5), keys(1, 4)))
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    all_of_it = by_hand(QUERY, joined(DOCUMENT, PAST), joined(keys(0, 5), keys(7, 4)))
    assert (wanted < all_of_it).tolist() == [False, True, True]  # the keys 1 and 2 are there again
    # With a second key a row, the query: the second document in the queue answers the first query, too.
    key, past = (np.stack([keys(n, m), [90 + n, 80, *range(m - 2)]], axis=1) for n, m in ((0, 5), (20, 4)))
    key[0, 1] = 80
    got = longer(filled(6, PAST, past), QUERY, DOCUMENT, jnp.asarray(key))
    np.testing.assert_allclose(got, by_hand(QUERY, joined(DOCUMENT, PAST), joined(key, past)), rtol=1e-5)


def test_an_ignore_of_the_batch_is_kept():
    ignore = np.random.default_rng(0).random((3, 5)) < 0.4
    got = longer(filled(6, PAST, keys(7, 4)), QUERY, DOCUMENT, keys(0, 5), jnp.asarray(ignore))
    beside = np.concatenate([ignore, np.zeros((3, 4), bool)], axis=1)
    wanted = by_hand(QUERY, joined(DOCUMENT, PAST), joined(keys(0, 5), keys(7, 4)), beside)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_no_gradient_goes_to_what_is_past():
    def mean(query, document, past):
        queue = push(empty_queue(6, 4), past, keys(7, 4))
        return with_queue(LOSS, queue)(query, document, document_key=keys(0, 5)).mean()

    def whole(query, document, past):
        key = jnp.concatenate([keys(0, 5), keys(7, 4)])
        return LOSS(query, jnp.concatenate([document, past]), document_key=key).mean()

    *got, none = jax.jit(jax.grad(mean, argnums=(0, 1, 2)))(QUERY, DOCUMENT, PAST)
    *wanted, some = jax.jit(jax.grad(whole, argnums=(0, 1, 2)))(QUERY, DOCUMENT, PAST)
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert not np.any(none)
    assert np.any(some)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (lambda loss: tiled(loss, 2), lambda loss: loss),
        (lambda loss: loss, lambda loss: tiled(loss, 2)),
        (lambda loss: loss, lambda loss: matryoshka(loss, (2, 4))),
    ],
)
def test_functions_of_losses_compose(outer, inner):
    queue = filled(6, PAST, keys(3, 4))  # the keys 3 and 4 come round
    key = jnp.concatenate([keys(0, 5), keys(3, 4)])

    @jax.jit
    def both(query, document, past):
        whole = inner(LOSS)(query, jnp.concatenate([document, past]), document_key=key)
        return outer(with_queue(inner(LOSS), queue))(query, document, document_key=keys(0, 5)), whole

    np.testing.assert_allclose(*both(vectors(0, 5), DOCUMENT, PAST), rtol=1e-5)


def test_each_device_pushes_its_rows_and_all_have_one_queue():
    query, document = vectors(0, 8), vectors(1, 8)
    queue = filled(20, vectors(2, 6), keys(50, 6))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
    by_rows, everywhere = PartitionSpec("data"), PartitionSpec()

    def step(queue, query, document, key):
        each = across_devices(with_queue(LOSS, queue), "data")(query, document, document_key=key)
        return each, push(queue, document, key, axis="data")

    spread = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(everywhere, by_rows, by_rows, by_rows),
        out_specs=(by_rows, everywhere),
        check_vma=False,  # what is gathered is alike on all devices
    )
    each, following = jax.jit(spread)(queue, query, document, keys(0, 8))
    key = joined(keys(0, 8), keys(50, 6))
    np.testing.assert_allclose(each, by_hand(query, joined(document, vectors(2, 6)), key), rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, following, push(queue, document, keys(0, 8)))


# --- in training -----------------------------------------------------------------------------------------------------


ENCODER = encode.static(encode.StaticConfig(vocab_size=200, hidden_size=16))
TERMS = {"loss": Term(LOSS, "query", "document")}


def batch(records):
    made = {side: np.array([record[side] for record in records], np.int32) for side in ("query", "document")}
    tokens = {side: Tokens(ids, np.ones_like(ids)) for side, ids in made.items()}
    return {**tokens, "document_key": np.array([record["row"] for record in records], np.int32)}


RECORDS = [{**record, "row": row} for row, record in enumerate(source())]


def run(folder=None, steps=10, terms=TERMS, optimizer=None, **settings):
    seen = []
    settings = {"carried": {"queue": {"document": empty_queue(40, 16)}}, "mesh": train.data_mesh(2), **settings}
    params = train.fit(
        queued(ENCODER, terms),
        optimizer or optax.adam(0.05),
        data.stream(RECORDS, batch_size=16, seed=3, make=batch),
        ENCODER.init(jax.random.key(0)),
        steps=steps,
        every=3,
        checkpoints=folder,
        what=None,
        **{"watch": seen.append, **settings},
    )
    return params, seen


def test_with_a_frozen_encoder_it_is_one_big_batch():
    """What the paper's memory stands for: were the encoder slow enough, the rows would be those of a larger batch."""
    _, seen = run(steps=4, optimizer=optax.set_to_zero(), mesh=train.data_mesh(4))
    assert [step.metrics["negatives"] for step in seen] == [15, 31, 47, 55]
    batches = data.stream(RECORDS, batch_size=16, seed=3, make=batch)
    table = np.asarray(ENCODER.init(jax.random.key(0))["table"])
    past, past_keys = np.zeros((0, 16)), np.zeros(0, np.int32)
    for step in seen:
        one = next(batches)
        query, document = (table[one[side].ids].mean(axis=1) for side in ("query", "document"))
        wanted = by_hand(query, joined(document, past), joined(one["document_key"], past_keys))
        assert step.loss == pytest.approx(wanted.mean(), rel=1e-5)
        past, past_keys = joined(past, document)[-40:], joined(past_keys, one["document_key"])[-40:]


def test_stopped_and_going_on_it_gives_the_same(tmp_path):
    whole, seen = run(tmp_path / "whole")

    class StoppedError(Exception):
        pass

    def stop(step):
        if step.number == 8:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tmp_path / "part", watch=stop)
    again, rest = run(tmp_path / "part")
    assert [(step.number, step.loss) for step in rest] == [(step.number, step.loss) for step in seen[6:]]
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    assert seen[-1].loss < seen[3].loss


def test_both_sides_may_have_a_queue():
    def made(records):
        one = batch(records)
        return {**one, "query_key": one["document_key"]}

    terms = {"there": Term(LOSS, "query", "document"), "back": Term(LOSS, "document", "query", weight=0.5)}
    queues = {side: filled(8, vectors(seed, 8, 16), keys(90, 8)) for seed, side in enumerate(("query", "document"))}
    one, params = made(RECORDS[:8]), ENCODER.init(jax.random.key(0))
    each, shown = jax.jit(queued(ENCODER, terms))(params, {**one, "queue": queues})
    query, document = (ENCODER.apply(params, one[side]) for side in ("query", "document"))
    key = joined(one["document_key"], keys(90, 8))
    there = by_hand(query, joined(document, queues["document"].vectors), key)
    back = by_hand(document, joined(query, queues["query"].vectors), key)
    np.testing.assert_allclose(each, there + 0.5 * back, rtol=1e-5)
    assert shown["negatives"] == 15
    np.testing.assert_allclose(shown["queue"]["query"].vectors, query, rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: empty_queue(0, 4), "got size=0, dim=4, keys=1"),
        (
            lambda: push(empty_queue(3, 4), vectors(0, 2, 5), keys(0, 2)),
            r"vectors \[n, 4\] and keys \[n, 1\], got \[2, 5\]",
        ),
        (lambda: push(empty_queue(3, 4), vectors(0, 2), keys(0, 3)), r"got \[2, 4\] and \[3, 1\]"),
        (lambda: with_queue(info_nce, empty_queue(3, 4)), "takes no `document_key`, .* take mask_duplicates"),
        (lambda: with_queue(losses.embedding_distillation, empty_queue(3, 4)), "no further documents"),
        (lambda: with_queue(across_devices(LOSS, "data"), empty_queue(3, 4)), "spread it last"),
        (lambda: losses.ring(with_queue(LOSS, empty_queue(3, 4)), "data"), "takes no `similarity`"),
        (
            lambda: matryoshka(with_queue(LOSS, empty_queue(3, 4)), (2, 4))(
                vectors(0, 2), vectors(1, 2), document_key=keys(0, 2)
            ),
            "2 dimensions in documents, 4 in the queue",
        ),
        (
            lambda: with_queue(LOSS, empty_queue(3, 4))(
                vectors(0, 2), vectors(1, 2), document_key=keys(0, 2), targets=jnp.eye(2)
            ),
            "targets would need a value for each row of the queue",
        ),
        (lambda: queued(ENCODER, {}), "one term or more"),
        (
            lambda: run(carried={"queue": {"query": empty_queue(3, 16)}}),
            r"queues of \['document'\], .* got \['query'\]",
        ),
        (lambda: run(terms={"loss": Term(LOSS, "document", "query")}, steps=1), r"queues of \['query'\]"),
    ],
)
@pytest.mark.usefixtures("as_users_call")
def test_bad_input(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_batch_without_keys_is_named():
    one = {name: value for name, value in batch(RECORDS[:4]).items() if name != "document_key"}
    with pytest.raises(ValueError, match="wanted the batch to have document_key"):
        queued(ENCODER, TERMS)(ENCODER.init(jax.random.key(0)), {**one, "queue": {"document": empty_queue(4, 16)}})
