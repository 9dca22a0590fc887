"""Adapt or re-index? on spaces whose answer is known."""

import numpy as np
import pytest

from jaxemb.harness.upgrade import Sides, upgrade

DIM = 8
DRAW = np.random.default_rng(0)
TURN = np.linalg.qr(DRAW.normal(size=(DIM, DIM)))[0]


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sides(count, change, seed):
    """What texts are to the new model, and what the old one made of them; documents are near their queries."""
    draw = np.random.default_rng(seed)
    meaning = unit(draw.normal(size=(count, DIM)))
    near = unit(meaning + 0.2 * draw.normal(size=(count, DIM)))
    return Sides(unit(change(meaning)), meaning), Sides(unit(change(near)), near)


def advised(change, **settings):
    documents, queries = sides(300, change, 0)
    training, _ = sides(200, change, 1)
    return upgrade(documents, training, queries, np.arange(300)[:, None], seconds=9.0, size=3000, **settings)


def test_where_nothing_changed_nothing_is_advised():
    advice = advised(lambda rows: rows)
    assert advice.recommended == "identity"
    assert advice.told.cosine == pytest.approx(1)


def test_where_all_moved_by_one_vector_the_shift_is_advised():
    constant = 0.8 * unit(DRAW.normal(size=(1, DIM)))
    advice = advised(lambda rows: rows + constant)
    values = {one.name: one.quality.estimate for one in advice.options}
    assert values["shift"] > values["identity"]
    assert advice.recommended in ("shift", "procrustes", "ridge")
    assert advice.chosen.adapter.source == "new"


def test_where_the_space_was_turned_a_rotation_is_advised():
    advice = advised(lambda rows: rows @ TURN)
    values = {one.name: one.quality.estimate for one in advice.options}
    assert advice.recommended == "procrustes"
    assert values["procrustes"] == pytest.approx(values["index made again"], abs=0.01)
    assert advice.chosen.nbytes == 4 * DIM * DIM
    assert "cannot tell" in advice.why or "the best" in advice.why


def test_where_the_old_model_knew_nothing_the_index_is_made_again():
    advice = advised(lambda rows: np.random.default_rng(len(rows)).normal(size=rows.shape))
    assert advice.recommended == "index made again"
    again = advice.chosen
    # The whole index is ten times the sample, of which the new model's reading took nine seconds.
    assert (again.seconds, again.nbytes) == (90.0, 4 * 3000 * DIM)


def test_models_of_two_sizes_have_no_shift_and_fidelity_needs_no_judgements():
    documents, queries = sides(300, lambda rows: rows[:, :5] + 0.0, 0)
    training, _ = sides(200, lambda rows: rows[:, :5] + 0.0, 1)
    advice = upgrade(documents, training, queries)
    names = [one.name for one in advice.options]
    assert names == ["old model", "procrustes", "ridge", "perceptron", "index made again"]
    assert advice.told is None
    assert advice.options[-1].quality.estimate == pytest.approx(1)


def test_sides_that_do_not_belong_together_are_refused(as_users_call):
    documents, queries = sides(20, lambda rows: rows, 0)
    with pytest.raises(ValueError, match="queries: wanted the same texts by both models, one or more, got 20 and 19"):
        upgrade(documents, documents, Sides(queries.old, queries.new[:-1]))
    with pytest.raises(ValueError, match="training queries: wanted the same texts"):
        upgrade(documents, Sides(queries.old[:0], queries.new[:0]), queries)
    with pytest.raises(ValueError, match=r"vectors of the new model have several sizes: \[5, 8\]"):
        upgrade(documents, documents, Sides(queries.old, queries.new[:, :5]))
