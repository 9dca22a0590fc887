"""Hard negatives here and by sentence-transformers' `mine_hard_negatives` over the same vectors.

Where theirs differs, and why ours does not follow:

- Theirs counts `range_min` and `range_max` after the margins: with a margin, `range_min=5` leaves out five that the
  margin had kept, on top of those that it had dropped.  Ours are ranks of the search, as the papers have them.
- For a query with several positives theirs compares with the lowest of them; ours compares each pair with its own, the
  labelled positive of the adaptive margin.
- Theirs moves the relative margin by a part of the positive's magnitude where that is below 0; ours refuses it.
- A query that finds too few is dropped in theirs (`n-tuple`), as with `short="drop"`; it never fills.
"""

import numpy as np
import pytest

from jaxemb import index
from jaxemb.data import Pair, negatives, read_pairs

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]
N, D = 60, 8


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of queries, and of documents near them, of which many are nearer to other queries."""
    draw = np.random.default_rng(0)
    query = draw.normal(size=(N, D))
    document = query + draw.normal(size=(N, D)) * draw.uniform(0.2, 1.5, size=(N, 1))
    return tuple((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (query, document))


QUERIES, DOCUMENTS = drawn()


class Given:
    """All that their function asks of a model: vectors of texts by their number."""

    device = "cpu"

    def encode_query(self, texts, **_):
        return QUERIES[[int(text.split()[1]) for text in texts]]

    def encode_document(self, texts, **_):
        return DOCUMENTS[[int(text.split()[1]) for text in texts]]

    def similarity(self, a, b):
        from sentence_transformers.util import dot_score

        return dot_score(a, b)

    def similarity_pairwise(self, a, b):
        from sentence_transformers.util import pairwise_dot_score

        return pairwise_dot_score(a, b)


def theirs(pairs, **settings) -> dict:
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    dataset = Dataset.from_dict({"query": [q for q, _ in pairs], "answer": [d for _, d in pairs]})
    corpus = [f"document {i}" for i in range(N)]
    got = mine_hard_negatives(
        dataset, Given(), corpus=corpus, sampling_strategy="top", output_format="n-tuple", verbose=False, **settings
    )
    columns = [name for name in got.column_names if name.startswith("negative")]
    return {(row["query"], row["answer"]): tuple(row[name] for name in columns) for row in got}


def ours(path, pairs, **settings) -> dict:
    vectors = QUERIES[[int(query.split()[1]) for query, _ in pairs]]
    search = index.exact.build(DOCUMENTS).search
    given = [Pair(*pair) for pair in pairs]
    negatives.mine(
        given, [f"document {i}" for i in range(N)], search, path, queries=vectors, short="drop", what=None, **settings
    )
    return {(pair.query, pair.document): pair.negatives for pair in read_pairs(path)}


ONE_EACH = [(f"query {i}", f"document {i}") for i in range(N)]


@pytest.mark.parametrize(
    ("their_settings", "our_settings"),
    [
        ({"range_max": 20}, {"ranks": (0, 20)}),
        ({"range_min": 5, "range_max": 20}, {"ranks": (5, 20)}),
        ({"range_max": 20, "absolute_margin": 0.1}, {"ranks": (0, 20), "rules": [negatives.absolute_margin(0.1)]}),
        ({"range_max": 20, "relative_margin": 0.05}, {"ranks": (0, 20), "rules": [negatives.relative_margin(0.95)]}),
        ({"range_max": 20, "max_score": 0.5}, {"ranks": (0, 20), "rules": [negatives.at_most(0.5)]}),
        (
            {"range_max": 30, "absolute_margin": 0.0, "relative_margin": 0.2},
            {"ranks": (0, 30), "rules": [negatives.absolute_margin(0.0), negatives.relative_margin(0.8)]},
        ),
    ],
)
def test_the_same_negatives(tmp_path, their_settings, our_settings):
    wanted = theirs(ONE_EACH, num_negatives=4, **their_settings)
    got = ours(tmp_path / "ours.jsonl", ONE_EACH, negatives=4, **our_settings)
    assert got == wanted
    assert 10 < len(got) <= N
    if "rules" in our_settings:
        assert got != ours(tmp_path / "plain.jsonl", ONE_EACH, negatives=4, ranks=our_settings["ranks"])


def test_several_positives_are_left_out_alike(tmp_path):
    pairs = [*ONE_EACH, ("query 3", "document 4"), ("query 3", "document 9"), ("query 7", "document 8")]
    got = ours(tmp_path / "ours.jsonl", pairs, negatives=5, ranks=(0, 12))
    assert got == theirs(pairs, num_negatives=5, range_max=12)
    assert len(got) == N + 3


def test_a_first_rank_with_a_margin_is_where_they_differ(tmp_path):
    wanted = theirs(ONE_EACH, num_negatives=3, range_min=4, range_max=20, absolute_margin=0.1)
    rules = [negatives.absolute_margin(0.1)]
    got = ours(tmp_path / "ours.jsonl", ONE_EACH, negatives=3, ranks=(4, 20), rules=rules)
    assert any(got[pair] != wanted[pair] for pair in got.keys() & wanted.keys())
    # Theirs are what is left after four more of those that the margin keeps.
    kept = ours(tmp_path / "kept.jsonl", ONE_EACH, negatives=7, ranks=(0, 20), rules=rules)
    assert all(kept[pair][4:] == wanted[pair] for pair in kept)
    assert len(kept) > 10
