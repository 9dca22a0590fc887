"""ADDER on a toy: what answers is turned a quarter round, which no closed model knows."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import adapt, evaluate
from jaxemb.adapt import Asked
from jaxemb.recipes import adapted_dense_retrieval as recipe
from jaxemb.recipes.adapted_dense_retrieval import Config

DIM, ITEMS = 8, 64
TOY = Config(both=True, epochs=6, refresh=2, batch_size=32, depth=8, negatives=4, learning_rate=3e-2)
SLOTS = adapt.dictionary(4)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def toy():
    """Queries are their item and an offset that all of them share, so that one slot can take it away."""
    draw = np.random.default_rng(0)
    corpus = unit(draw.normal(size=(ITEMS, DIM)))
    query = unit(corpus + 1.5 * unit(draw.normal(size=(1, DIM))) + 0.3 * draw.normal(size=(ITEMS, DIM)))
    own = np.arange(ITEMS)[:, None]
    order = draw.permutation(ITEMS)
    return corpus, *(Asked(query[rows], own[rows]) for rows in (order[:32], order[32:48], order[48:]))


def test_it_ranks_by_the_task_afterwards():
    corpus, asked, held, unseen = toy()
    learnt = recipe.run(TOY, SLOTS, corpus, asked, held, seed=0)
    assert learnt.after > learnt.before
    params = {"query": learnt.query, "document": learnt.document}
    assert recipe.quality(SLOTS, params, corpus, unseen) > recipe.quality(SLOTS, {}, corpus, unseen) + 0.05


def test_queries_alone_leave_documents_as_they_are():
    corpus, asked, held, _ = toy()
    learnt = recipe.run(replace(TOY, both=False, epochs=2), SLOTS, corpus, asked, held, seed=0, frozen_index=True)
    assert learnt.document is None


def test_without_a_gain_nothing_is_added(capsys):
    corpus, asked, _, _ = toy()
    perfect = Asked(corpus[:16], np.arange(16)[:, None])  # nothing can do better than they do already
    learnt = recipe.run(replace(TOY, epochs=2), SLOTS, corpus, asked, perfect, seed=0)
    assert (learnt.query, learnt.document, learnt.before, learnt.after) == (None, None, 1.0, 1.0)
    assert "nothing is added" in capsys.readouterr().err


@pytest.mark.parametrize("mined", ["nearest", "batch", "random"])
@pytest.mark.parametrize("temperature", [None, 0.1])
def test_every_way_of_finding_negatives_has_its_loss(mined, temperature):
    corpus, asked, *_ = toy()
    cfg = replace(TOY, mined=mined, temperature=temperature, batch_size=4)
    params = {side: SLOTS.init(jax.random.key(0), DIM) for side in ("query", "document")}
    draw = np.random.default_rng(0)
    candidates = recipe.mined(cfg, SLOTS, params, corpus, asked, draw)
    assert not (candidates[:, :, None] == asked.relevant[:, None, :]).any()
    batch = recipe.batches(cfg, corpus, asked, candidates, draw)[0]
    each, _ = recipe.objective(cfg, SLOTS)(params, {name: jnp.asarray(rows) for name, rows in batch.items()})
    assert each.shape == (4,)
    # By hand: at first nothing is added, so that cosines are those of the vectors themselves.
    scores = batch["query"] @ batch["document"].T
    own, wrong = np.diagonal(scores), scores if mined == "batch" else None
    if wrong is None:
        wrong = np.stack([scores[row, row + 4 :: 4] for row in range(4)])
    else:
        wrong = np.stack([np.delete(scores[row], row) for row in range(4)])
    if temperature is None:
        wanted = np.maximum(wrong - own[:, None] + cfg.margin, 0).mean(axis=1)
    else:
        wanted = np.log(np.exp(np.c_[own, wrong] / temperature).sum(axis=1)) - own / temperature
    np.testing.assert_allclose(each, wanted, rtol=1e-4, atol=1e-5)


def test_the_hinge_is_zero_when_all_margins_are_met():
    document = np.concatenate([np.eye(4, DIM), -np.eye(4, DIM)]).astype(np.float32)
    cfg = replace(TOY, negatives=1)
    np.testing.assert_array_equal(recipe.loss(cfg)(jnp.eye(4, DIM), jnp.asarray(document)), np.zeros(4))


def test_row_ndcg_is_that_of_ranked_lists(as_users_call):
    draw = np.random.default_rng(1)
    found = np.stack([draw.permutation(9)[:5] for _ in range(6)])
    relevant = np.stack([np.r_[draw.permutation(9)[:2], -1] for _ in range(6)])
    for row in range(6):
        grades = np.isin(found[row], relevant[row]).astype(int)
        ranking = evaluate.Ranking(np.arange(5, 0, -1.0), grades, np.ones(2, int), np.arange(5))
        assert evaluate.row_ndcg(found[row : row + 1], relevant[row : row + 1])[0] == pytest.approx(
            evaluate.ndcg(ranking, k=5)
        )
    with pytest.raises(ValueError, match="wanted one list of relevant rows for each of 6 queries, got 1"):
        evaluate.row_ndcg(found, relevant[:1])


CORPUS, ASKED, HELD, _ = toy()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cfg": replace(TOY, margin=0.0)}, "wanted a margin above 0 and below 2, got 0.0"),
        ({"cfg": replace(TOY, margin=2.0)}, "wanted a margin above 0 and below 2"),
        ({"cfg": replace(TOY, temperature=0.0)}, "wanted a temperature above 0"),
        ({"cfg": replace(TOY, depth=2)}, "depth >= negatives"),
        ({"frozen_index": True}, "the index of the documents is frozen"),
        ({"corpus": CORPUS[:1]}, "wanted a corpus of two items or more, got 1"),
        ({"corpus": 2 * CORPUS}, "corpus: 64 of 64 vectors have not length one"),
        ({"corpus": CORPUS * (np.arange(ITEMS) != 3)[:, None]}, "1 of 64 vectors have not length one, the first is 3"),
        ({"corpus": np.r_[CORPUS, CORPUS[:2]]}, "2 items of the corpus are the same as another"),
        ({"development": Asked(HELD.query[:0], HELD.relevant[:0])}, "wanted development queries to choose by"),
        ({"asked": ASKED._replace(query=unit(ASKED.query[:, :4]))}, r"wanted vectors \[n, 8\], got \[32, 4\]"),
        ({"asked": ASKED._replace(relevant=ASKED.relevant + 60)}, "wanted rows of a corpus of 64"),
        ({"asked": ASKED._replace(relevant=np.full((32, 1), -1))}, "query 0 has no relevant item"),
        (
            {"asked": ASKED._replace(relevant=np.tile(np.arange(60), (32, 1)))},
            "query 0 has 60 relevant items of 64, which leaves less than 8 negatives",
        ),
    ],
)
def test_what_cannot_be_trained_on_is_refused(as_users_call, change, said):
    given = {"cfg": TOY, "corpus": CORPUS, "asked": ASKED, "development": HELD, **change}
    with pytest.raises(ValueError, match=said):
        recipe.check(**given)
