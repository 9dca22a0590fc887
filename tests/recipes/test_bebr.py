from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress, train
from jaxemb.recipes import bebr
from jaxemb.similarity import unit

CONFIG = bebr.Config(size=16, bits=2, epochs=12, batch_size=64, learning_rate=3e-3)


def made(count=256, seed=0):
    """Documents, and queries that share some of their dimensions: the rest is noise that a code need not keep."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(size=(count, 6))
    sides = [np.concatenate([shared, 1.5 * draw.normal(size=(count, 10))], axis=1) for _ in range(2)]
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(16, 16)))[0]
    query, document = (np.asarray(unit(jnp.asarray(side @ turn, jnp.float32))) for side in sides)
    return [bebr.Pair(q, d, key) for key, (q, d) in enumerate(zip(query, document, strict=True))]


def batch(pairs):
    return jax.tree.map(jnp.asarray, bebr.batch(pairs))


def found(code, state, pairs, *, asked=None):
    query, document = (jnp.stack([getattr(pair, side) for pair in pairs]) for side in ("query", "document"))
    codes = code.apply(state, document)
    scores = code.symmetric(state, code.apply(state, query) if asked is None else asked, codes)
    return float((jnp.argmax(scores, axis=1) == jnp.arange(len(pairs))).mean())


def start(pairs, size=16, bits=2):
    return compress.recurrent_start(jnp.stack([pair.document for pair in pairs]), size, bits)


@pytest.mark.grid
def test_it_learns_what_to_keep():
    pairs, unseen = made(), made(200, seed=5)
    begin = start(pairs)
    code, learnt = bebr.run(CONFIG, begin, pairs, seed=0, what=None)
    assert code.name == "bebr-16x2"
    assert found(code, learnt, unseen) > found(code, begin, unseen) + 0.05


@pytest.mark.parametrize("twin", [False, True])
def test_the_loss_is_hard_info_nce_of_codes_both_ways_without_documents_of_the_own_key(twin):
    pairs = made(8)
    if twin:
        pairs = [*pairs[:7], replace(pairs[0], query=pairs[7].query)]
    params = start(made())
    got, _ = bebr.objective(replace(CONFIG, hardest=2))(params, batch(pairs))
    query, document = (
        unit(compress.multilevel(params, jnp.stack([getattr(pair, side) for pair in pairs])))
        for side in ("query", "document")
    )
    none = np.eye(8, dtype=bool)
    if twin:
        none[0, 7] = none[7, 0] = True

    def one_way(scores):
        own = np.diag(scores)
        closest = np.sort(np.where(none, -np.inf, scores), axis=1)[:, -2:]
        return np.log(np.exp(own / 0.05) + np.exp(closest / 0.05).sum(axis=1)) - own / 0.05

    scores = np.asarray(query @ document.T, np.float64)
    np.testing.assert_allclose(got, one_way(scores) + one_way(scores.T), rtol=1e-4, atol=1e-4)


@pytest.mark.grid
def test_new_codes_find_old_ones():
    pairs, unseen = made(), made(200, seed=5)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(16, 16)))[0].astype(np.float32)
    old = compress.recurrent(16, 2)

    def older(some):
        """What the older model made of the same texts: its vectors lie in another space."""
        return [replace(pair, query=pair.query @ turn, document=pair.document @ turn) for pair in some]

    old_state = start(older(pairs))
    rows = partial(_codes, old, old_state)
    known = [
        replace(pair, old_query=q, old_document=d)
        for pair, q, d in zip(pairs, rows(older(pairs), "query"), rows(older(pairs), "document"), strict=True)
    ]

    def crossing(code, state):
        asked = code.decode(state, code.apply(state, jnp.stack([pair.query for pair in unseen])))
        scores = unit(asked[:, :16]) @ rows(older(unseen), "document").T
        return float((jnp.argmax(scores, axis=1) == jnp.arange(len(unseen))).mean())

    config = replace(CONFIG, size=24, epochs=4)
    plain = bebr.run(config, start(pairs, 24), pairs, seed=0, what=None)
    begin = compress.compatible_start(
        jnp.stack([pair.document for pair in known]), jnp.stack([pair.old_document for pair in known]), 24, 2
    )
    bound = bebr.run(config, begin, known, seed=0, what=None)
    same = found(old, old_state, older(unseen))
    assert crossing(*plain) < 0.1 * same
    assert crossing(*bound) > 0.8 * same


def _codes(code, state, pairs, side):
    return np.asarray(code.decode(state, code.apply(state, jnp.stack([getattr(pair, side) for pair in pairs]))))


def test_codes_of_earlier_steps_are_negatives():
    pairs = made(16)
    few = batch(pairs[:8])
    queue = train.push(train.empty_queue(8, 16), *_rows(pairs[8:]))
    config = replace(CONFIG, hardest=7, queue=8)
    with_queue, shown = bebr.objective(config)(start(pairs), {**few, train.CARRIED: {"document": queue}})
    without, _ = bebr.objective(replace(config, queue=0))(start(pairs), few)
    assert bool((with_queue > without - 1e-5).all())
    assert float(shown["negatives"]) == 15
    assert int(shown[train.CARRIED]["document"].filled) == 8


def _rows(pairs):
    codes = compress.multilevel(start(made(16)), jnp.stack([pair.document for pair in pairs]))
    return codes, jnp.array([pair.key for pair in pairs])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bits": 5}, "bebr: wanted 1 to 4 bits a dimension, got 5"),
        ({"bits": 0}, "bebr: wanted 1 to 4 bits a dimension, got 0"),
        ({"size": 3}, "bebr: wanted a code that fills bytes, got 3 dimensions of 2 bits"),
        ({"hardest": 0}, "wanted 1 hardest negative and 1 epoch or more"),
        ({"batch_size": 5}, "the 5 hardest negatives need a larger batch than 5"),
    ],
)
def test_settings_that_are_refused(changed, said):
    with pytest.raises(ValueError, match=said):
        replace(CONFIG, **changed)


def test_pairs_that_are_refused():
    pairs = made(64)
    with pytest.raises(ValueError, match="bebr: wanted 64 pairs or more, one batch, got 63"):
        bebr.run(CONFIG, start(pairs), pairs[:63], seed=0, what=None)
    half = [replace(pairs[0], old_query=np.ones(8, np.float32)), *pairs[1:]]
    with pytest.raises(ValueError, match="either all pairs have codes of the older model"):
        bebr.run(CONFIG, start(pairs), half, seed=0, what=None)
    longer = [replace(p, old_query=np.ones(24, np.float32), old_document=np.ones(24, np.float32)) for p in pairs]
    with pytest.raises(ValueError, match="old vectors of 24 dimensions are longer than new ones of 16"):
        bebr.objective(CONFIG, compatible=True)(start(pairs), batch(longer))
