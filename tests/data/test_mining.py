"""What is mined, by hand on small lists, and what is refused."""

import json

import numpy as np
import pytest

from jaxemb import index
from jaxemb.data import Pair, negatives, read_pairs
from jaxemb.data.negatives import absolute_margin, at_most, hybrid, mine, relative_margin, uniform

DOCUMENTS = ["zero", "one", "two", "three", "four", "five", "two", "seven"]  # the seventh repeats the third
PAIRS = [Pair("a", "one"), Pair("b", "three", ("was here before",)), Pair("a", "four")]
FOUND = {
    "a": ([2, 1, 6, 5, 4, 0], [0.9, 0.8, 0.75, 0.7, 0.6, 0.5]),
    "b": ([7, 5, 3, 0, 2, -1], [0.9, 0.8, 0.5, 0.4, 0.2, -np.inf]),
}


def search(queries, k):
    rows, scores = (np.stack([np.asarray(FOUND[query][part])[:k] for query in queries]) for part in (0, 1))
    return rows, scores


def run(tmp_path, pairs=PAIRS, find=search, **settings):
    settings = {"negatives": 2, "short": "leave", "ranks": (0, 5), "what": None, **settings}
    report = mine(pairs, DOCUMENTS, find, tmp_path / "mined.jsonl", **settings)
    return report, list(read_pairs(tmp_path / "mined.jsonl"))


def mined(tmp_path, **settings):
    return [pair.negatives for pair in run(tmp_path, **settings)[1]]


def test_neither_answers_nor_copies_are_candidates(tmp_path):
    report, pairs = run(tmp_path)
    # Both pairs that ask `a` leave out both of its answers; `two` is there once.
    assert pairs == [
        Pair("a", "one", ("two", "five")),
        Pair("b", "three", ("seven", "five")),
        Pair("a", "four", ("two", "five")),
    ]
    assert report.pairs == report.written == 3
    assert report.short == report.filled == 0
    assert report.candidates == 6 + 5 + 6
    assert report.dropped == {"answers the query": 5, "not needed": 4, "repeats a text": 2}
    assert report.kept == 6
    assert report.ranks.tolist() == [3, 3, 0, 0, 0]
    assert report.counts.sum() == 6
    assert (report.edges[0], report.edges[-1]) == (pytest.approx(0.7), pytest.approx(0.9))


def test_judged_answers_and_their_copies_are_left_out(tmp_path):
    got = mined(tmp_path, answers=[[6], [], []])
    assert got == [("five", "zero"), ("seven", "five"), ("two", "five")]  # row 6 has the text of row 2


def test_ranks_count_what_may_be_a_negative(tmp_path):
    asked = []

    def counted(queries, k):
        asked.append(k)
        return search(queries, 6)

    report, pairs = run(tmp_path, find=counted, ranks=(1, 3))
    assert [pair.negatives for pair in pairs] == [("five", "zero"), ("five", "zero"), ("five", "zero")]
    assert asked == [5]  # as many as answer a query may stand before the last rank
    assert report.ranks.tolist() == [0, 3, 3]
    assert report.dropped["before rank 1"] == 3
    assert report.dropped["after rank 2"] == 1
    assert report.candidates == report.kept + sum(report.dropped.values())


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (absolute_margin(0.0), [("five", "zero"), ("zero", "two"), ("zero",)]),
        (absolute_margin(0.25), [("zero",), ("two",), ()]),
        (relative_margin(0.85), [("zero",), ("zero", "two"), ("zero",)]),
        (at_most(0.7), [("five", "zero"), ("zero", "two"), ("five", "zero")]),
    ],
)
def test_margins_move_with_the_own_document(tmp_path, rule, wanted):
    report, pairs = run(tmp_path, rules=[rule])
    assert [pair.negatives for pair in pairs] == wanted
    assert report.dropped[rule.name] > 0
    assert report.candidates == report.kept + sum(report.dropped.values())


def test_rules_hold_together(tmp_path):
    assert mined(tmp_path, rules=[absolute_margin(0.0), at_most(0.5)])[0] == ("zero",)


def test_too_few_are_filled_from_lower_ranks(tmp_path):
    """Of `a` the ranks are two, five, zero; of `b` seven, five, zero, two."""
    rule = at_most(0.75)
    assert mined(tmp_path, ranks=(0, 2), rules=[rule]) == [("five",), (), ("five",)]
    report, pairs = run(tmp_path, ranks=(0, 2), deeper=4, rules=[rule])
    assert [pair.negatives for pair in pairs] == [("five", "zero"), ("zero", "two"), ("five", "zero")]
    assert report.ranks.tolist() == [0, 2, 3, 1]
    assert report.candidates == report.kept + sum(report.dropped.values())
    few, _ = run(tmp_path, ranks=(0, 2), deeper=3, rules=[rule])
    assert (few.short, few.kept) == (3, 3)  # a copy costs `a` its last rank
    assert mined(tmp_path, ranks=(0, 2), deeper=4) == mined(tmp_path, ranks=(0, 2))  # nothing is missing there


def test_where_the_own_document_was_not_found_nothing_is_known_to_be_worse(tmp_path):
    def shallow(queries, k):
        return search(queries, 1)

    with pytest.raises(ValueError, match=r"no negative is left for any of 3 pairs; .*'own document not found': 3"):
        run(tmp_path, find=shallow, rules=[absolute_margin(0.1)], short="leave")
    report, pairs = run(tmp_path, find=shallow, rules=[absolute_margin(0.1)], positive=[1.0, 0.9, 0.9], short="leave")
    assert (report.short, report.written) == (3, 3)
    assert [pair.negatives for pair in pairs] == [("two",), (), ()]
    assert mined(tmp_path, find=shallow, rules=[at_most(0.9)])[0] == ("two",)
    assert mined(tmp_path, find=shallow, rules=[absolute_margin(0.1)], positive=[1.0, 0.9, 1.1]) == [
        ("two",),
        (),
        ("two",),
    ]


def test_a_teacher_judges_and_orders(tmp_path):
    seen = []

    def teacher(texts):
        seen.append(list(texts))
        return np.array([{"five": -1.0, "zero": -0.5}.get(text, 3.0 - len(text)) for _, text in texts])

    # one 0.0, two 0.0, five -1.0, zero -0.5; three -2.0, seven -2.0; four -1.0
    got = mined(tmp_path, teacher=teacher, rules=[absolute_margin(0.5)], block=2)
    assert got == [("zero", "five"), (), ()]
    assert [len(block) for block in seen] == [(1 + 3) + (1 + 4), 1 + 3]
    assert seen[0][:4] == [("a", "one"), ("a", "two"), ("a", "five"), ("a", "zero")]


def test_too_few_are_filled_left_or_dropped(tmp_path, capsys):
    rules = [absolute_margin(0.25)]
    report, pairs = run(tmp_path, rules=rules, short="fill", what="mine")
    assert "mine: 3 of 3 pairs found fewer than 2 negatives; 4 were drawn at random" in capsys.readouterr().err
    assert (report.short, report.filled, report.kept) == (3, 4, 2)
    for pair, own in zip(pairs, [("zero",), ("two",), ()], strict=True):
        assert pair.negatives[: len(own)] == own
        drawn = set(pair.negatives[len(own) :])
        assert len(drawn) == 2 - len(own)
        # Not what the search found, of which the margin dropped some, and no answer.
        assert drawn <= ({"three", "seven"} if pair.query == "a" else {"one", "four"})
    with pytest.raises(ValueError, match=r"no negative is left for any of 3 pairs; .*'absolute margin 0.25': 8"):
        run(tmp_path / "none", rules=rules, short="drop")
    assert not (tmp_path / "none" / "mined.jsonl").exists()
    report, pairs = run(tmp_path, rules=[absolute_margin(0.0)], short="drop")
    assert (report.written, report.short, report.kept, report.dropped["pair left out"]) == (2, 1, 4, 1)
    assert [pair.document for pair in pairs] == ["one", "three"]


def test_there_may_be_nothing_to_fill_with(tmp_path):
    def everything(queries, k):
        return np.tile(np.arange(8), (len(queries), 1)), np.tile(np.linspace(1, 0, 8), (len(queries), 1))

    report, pairs = run(tmp_path, find=everything, rules=[at_most(0.1)], short="fill")
    assert [pair.negatives for pair in pairs] == [("seven",), (), ("seven",)]  # rank 5 of `b`
    assert (report.short, report.filled) == (3, 0)


def test_sampling_is_the_seeds_whatever_the_block(tmp_path):
    draw = np.random.default_rng(0)
    pairs = [Pair(f"query {i}", f"answer {i}") for i in range(40)]
    texts = [pair.document for pair in pairs]
    vectors = draw.normal(size=(40, 4)).astype(np.float32)
    found = index.exact.build(vectors)

    def go(**settings):
        path = tmp_path / "sampled.jsonl"
        settings = {"negatives": 3, "ranks": (2, 12), "pick": uniform, "queries": vectors, "what": None, **settings}
        report = mine(pairs, texts, found.search, path, **settings)
        return report, path.read_text()

    report, one = go(seed=1)
    assert one == go(seed=1, block=7)[1] != go(seed=2)[1]
    assert report.ranks[:2].sum() == 0
    assert report.ranks.sum() == 120
    assert report.ranks[2:].min() > 0  # not the first ones only
    assert go(pick=negatives.top)[0].ranks.tolist() == [0, 0, 40, 40, 40] + [0] * 7


def test_hybrid_puts_ranks_together(tmp_path):
    def other(queries, k):
        return np.tile([5, 7, 2], (len(queries), 1)), np.tile([30.0, 20.0, 10.0], (len(queries), 1))

    rows, scores = hybrid(search, other, constant=1.0)(["a", "b"], 4)
    assert rows.tolist() == [[2, 5, 1, 7], [5, 7, 2, 3]]
    assert scores[0].tolist() == pytest.approx([1 / 2 + 1 / 4, 1 / 5 + 1 / 2, 1 / 3, 1 / 3])
    assert hybrid(other)(["a"], 5)[0].tolist() == [[5, 7, 2, -1, -1]]
    with pytest.raises(ValueError, match=r"constant above 0, got 1 and 0\.0"):
        hybrid(other, constant=0.0)


def constant(value):
    return lambda texts: np.full(len(texts), value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"negatives": 0}, "negatives=0"),
        ({"ranks": (3, 4)}, r"ranks=\(3, 4\)"),
        ({"ranks": (-1, 4)}, r"ranks=\(-1, 4\)"),
        ({"ranks": (8, 12)}, "ranks that begin among the 8 documents, got 8"),
        ({"ranks": (6, 12), "short": "fill"}, r"no negative is left for any of 3 pairs; .*'before rank 6': 10"),
        ({"short": "pad"}, "got 'pad'"),
        ({"deeper": 4}, "wanted deeper to be 5 or more, the end of the ranks, got 4"),
        ({"queries": ["a"]}, "wanted queries for each of the 3 pairs, got 1"),
        ({"answers": [[0]]}, "wanted answers for each of the 3 pairs, got 1"),
        ({"answers": [[], [8], []]}, r"answers of pair 1 must be rows of the 8 documents, got \[8\]"),
        ({"positive": [1.0, float("nan"), 1.0]}, "finite positive scores, got nan"),
        ({"positive": [1.0] * 3, "teacher": constant(1.0)}, "got both"),
        ({"teacher": lambda texts: np.ones(2)}, r"a score for each of 13 pairs, got \[2\]"),
        ({"teacher": constant(float("inf"))}, "finite scores, got inf for 'a', 'one'"),
        ({"teacher": constant(-1.0), "rules": [relative_margin(0.9)]}, "pair 0, 'a': relative_margin: .* got -1"),
        ({"pairs": []}, "wanted pairs and documents, got 0 and 8"),
        ({"pairs": [Pair("a", " ")]}, "the document of pair 0: wanted a text that is not empty"),
        ({"pairs": [Pair("\ud800", "one")]}, "the query of pair 0: wanted Unicode text"),
        ({"find": lambda queries, k: ([[0]], [[1.0]])}, r"both \[3, k\], got int64 \[1, 1\]"),
        ({"find": lambda queries, k: ([[8]] * 3, [[1.0]] * 3)}, "rows from 0 to 7, or -1 for none, got 8 to 8"),
        ({"find": lambda queries, k: ([[0]] * 3, [[np.nan]] * 3)}, "finite scores, got NaN"),
        (
            {"find": lambda queries, k: ([[0, 2, -1, 3]] * 3, [[0.1, 0.1, -np.inf, 0.5]] * 3)},
            r"larger scores for closer documents, got 0\.5 after 0\.1",
        ),
    ],
)
@pytest.mark.usefixtures("as_users_call")
def test_bad_input(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: absolute_margin(-0.1), "a margin of 0 or more, got -0.1"),
        (lambda: absolute_margin(float("nan")), "a margin of 0 or more, got nan"),
        (lambda: relative_margin(0.0), "a share above 0 and at most 1, got 0.0"),
        (lambda: relative_margin(1.01), "a share above 0 and at most 1, got 1.01"),
        (lambda: at_most(float("inf")), "a finite score, got inf"),
    ],
)
def test_bad_rules(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_another_kind_of_file_is_refused_and_an_old_one_stays_when_it_fails(tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.jsonl, got .*parquet"):
        mine(PAIRS, DOCUMENTS, search, tmp_path / "mined.parquet")
    run(tmp_path)
    before = (tmp_path / "mined.jsonl").read_text()
    with pytest.raises(ValueError, match="got inf"):
        run(tmp_path, teacher=lambda texts: np.where(np.arange(len(texts)) == 7, np.inf, 0.0))
    assert (tmp_path / "mined.jsonl").read_text() == before
    assert [json.loads(line)["query"] for line in before.splitlines()] == ["a", "b", "a"]
