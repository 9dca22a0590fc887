"""Values by hand, every order of ties tried, and agreement with ir-measures."""

from functools import partial
from itertools import pairwise, permutations
from math import log2

import ir_measures as ir
import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxemb import evaluate
from jaxemb.evaluate import Ranking, as_trec_eval, exponential, mrr, ndcg, recall, tied

METRICS = [ndcg, partial(ndcg, gain=exponential), mrr, recall]


def ranking(scores, grades, missed=()):
    grades = np.array(grades, np.int64)
    judged = np.concatenate([grades, np.array(missed, np.int64)])
    return Ranking(np.array(scores, np.float64), grades, judged, np.arange(len(grades)))


def test_ndcg_by_hand():
    one = ranking([0.1, 0.9, 0.5], [2, 0, 1], missed=[3])
    best = 3 + 2 / log2(3) + 1 / 2
    assert ndcg(one, k=3) == pytest.approx((1 / log2(3) + 2 / 2) / best, abs=1e-15)
    assert ndcg(one, k=2) == pytest.approx((1 / log2(3)) / (3 + 2 / log2(3)), abs=1e-15)
    assert ndcg(one, k=3, gain=exponential) == pytest.approx(
        (1 / log2(3) + 3 / 2) / (7 + 3 / log2(3) + 1 / 2), abs=1e-15
    )


def test_ties_by_hand():
    # One answer stands first; then three tie, of which one answers, and the cut at 2 goes through them.
    one = ranking([0.9, 0.5, 0.5, 0.5], [1, 0, 2, 0], missed=[1])
    assert ndcg(one, k=2) == pytest.approx((1 + 2 / 3 / log2(3)) / (2 + 1 / log2(3)), abs=1e-15)
    assert recall(one, k=2) == pytest.approx((1 + 1 / 3) / 3, abs=1e-15)
    assert mrr(ranking([0.5, 0.5, 0.5], [0, 1, 0]), k=2) == pytest.approx((1 + 1 / 2) / 3, abs=1e-15)
    assert mrr(ranking([0.9, 0.5, 0.5, 0.5], [0, 1, 1, 0]), k=3) == pytest.approx(2 / 3 / 2 + 1 / 3 / 3, abs=1e-15)


def test_grades_below_zero_count_as_zero_and_do_not_answer():
    one = ranking([0.9, 0.5], [-2, 1], missed=[-1])
    assert ndcg(one, k=2) == pytest.approx(1 / log2(3))
    assert (mrr(one, k=2), recall(one, k=1), recall(one, k=2)) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_relevant_or_nothing_found_is_zero(metric):
    assert metric(ranking([0.9, 0.5], [0, 0]), k=10) == 0.0
    assert metric(ranking([], [], missed=[1]), k=10) == 0.0


@pytest.mark.parametrize("metric", METRICS)
@settings(deadline=None, max_examples=40)
@given(
    found=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-1, 3)), min_size=1, max_size=6),
    missed=st.lists(st.integers(0, 3), max_size=2),
    k=st.integers(1, 7),
)
def test_expected_value_is_the_mean_over_every_order_of_ties(metric, found, missed, k):
    scores, grades = (np.array(column) for column in zip(*found, strict=True))
    every = []
    for order in permutations(range(len(found))):
        if all(scores[a] >= scores[b] for a, b in pairwise(order)):
            strict = np.empty(len(found))
            strict[list(order)] = -np.arange(len(found))
            every.append(metric(ranking(strict, grades, missed), k=k))
    assert metric(ranking(scores, grades, missed), k=k) == pytest.approx(np.mean(every), abs=1e-12)
    assert tied(ranking(scores, grades, missed), k=k) in (0.0, 1.0)


@settings(deadline=None, max_examples=60)
@given(
    found=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-1, 2)), min_size=1, max_size=5),
    k=st.integers(1, 5),
)
def test_tied_says_whether_ndcg_hangs_on_the_order(found, k):
    scores, grades = (np.array(column) for column in zip(*found, strict=True))
    every = {
        round(ndcg(ranking(-np.argsort(order), grades, [3]), k=k), 12)
        for order in permutations(range(len(found)))
        if all(scores[a] >= scores[b] for a, b in pairwise(order))
    }
    assert tied(ranking(scores, grades, [3]), k=k) == float(len(every) > 1)


def test_many_ties_lose_no_precision():
    # 1 answer among 20,000 that tie: harmonic number over n.
    n = 20_000
    got = mrr(ranking(np.zeros(n), [1] + [0] * (n - 1)), k=n)
    assert got == pytest.approx(np.sum(1 / np.arange(1, n + 1)) / n, rel=1e-12)


@pytest.mark.parametrize("metric", [*METRICS, tied])
def test_nan_and_k_below_one_are_refused(metric):
    with pytest.raises(ValueError, match="k of 1 or more, got 0"):
        metric(ranking([0.1], [1]), k=0)
    with pytest.raises(ValueError, match="NaN is no score: 1 of 2"):
        metric(ranking([0.1, np.nan], [1, 0]), k=1)


class Toy:
    """Judgements alone: what retrieval reads of a task."""

    def __init__(self, judgements, run):
        self.name, self.judgements = "toy", judgements
        self.query_ids = list(judgements)
        self.document_ids = sorted({name for found in [*judgements.values(), *run.values()] for name in found})


def random_run(seed, decimals):
    chance = np.random.default_rng(seed)
    names = [f"d{i}" for i in range(30)] + ["é", "日", "Z"]
    judgements, run = {}, {}
    for query in (f"q{i}" for i in range(6)):
        judged = chance.choice(names, chance.integers(1, 20), replace=False)
        judgements[query] = {str(name): int(chance.integers(-1, 4)) for name in judged}
        found = chance.choice(names, chance.integers(1, 30), replace=False)
        run[query] = {str(name): round(float(chance.normal()), decimals) for name in found}
    del run["q3"]  # found nothing
    return judgements, run


def reference(judgements, run):
    """ir-measures' values; its `RR@10` breaks ties in an order of its own, so only for runs without."""
    wanted = {"ndcg@10": ir.nDCG @ 10, "mrr@10": ir.RR @ 10, "recall@10": ir.R @ 10, "recall@100": ir.R @ 100}
    values = {name: dict.fromkeys(judgements) for name in wanted}
    for one in ir.iter_calc(list(wanted.values()), judgements, run):
        name = next(name for name, measure in wanted.items() if measure == one.measure)
        values[name][one.query_id] = one.value
    return {name: list(of.values()) for name, of in values.items()}


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_agrees_with_ir_measures_where_nothing_ties(seed):
    judgements, run = random_run(seed, decimals=6)
    if any(len(set(np.float32(list(found.values())))) < len(found) for found in run.values()):
        return
    got = evaluate.retrieval(Toy(judgements, run), run)
    for name, values in reference(judgements, run).items():
        np.testing.assert_allclose(got.values[name], values, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(got.values["tied@10"], 0.0)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_ties_are_broken_as_trec_eval_breaks_them(seed):
    judgements, run = random_run(seed, decimals=0)
    broken = {
        "ndcg_cut_10": partial(as_trec_eval(ndcg), k=10),
        "recip_rank": partial(as_trec_eval(mrr), k=1000),
        "recall_10": partial(as_trec_eval(recall), k=10),
    }
    got = evaluate.retrieval(Toy(judgements, run), run, broken)
    want = pytrec_eval.RelevanceEvaluator(judgements, {"ndcg_cut.10", "recip_rank", "recall.10"}).evaluate(run)
    for place, query_id in enumerate(got.query_ids):
        for name in broken:
            expected = want[query_id][name] if query_id in run else 0.0
            assert got.values[name][place] == pytest.approx(expected, abs=1e-9)


def test_trec_eval_sees_scores_in_float32():
    judgements, run = {"q": {"a": 1}}, {"q": {"a": 1.0 + 1e-9, "b": 1.0}}
    got = evaluate.retrieval(Toy(judgements, run), run, {"mrr": partial(as_trec_eval(mrr), k=10)})
    want = pytrec_eval.RelevanceEvaluator(judgements, {"recip_rank"}).evaluate(run)
    assert got.values["mrr"] == [0.5] == [want["q"]["recip_rank"]]
