"""Rows named sentence-transformers find what that library finds."""

import numpy as np
import pytest

from jaxemb.harness import peers

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def vectors():
    draw = np.random.default_rng(0).normal(size=(2100, 48)) + np.linspace(-1, 1, 48)
    draw = (draw / np.linalg.norm(draw, axis=1, keepdims=True)).astype(np.float32)
    return draw[:2000], draw[2000:]


@pytest.mark.parametrize("precision", peers.PRECISIONS)
@pytest.mark.parametrize("rescore", [False, True])
def test_the_same_rows(vectors, precision, rescore):
    from sentence_transformers.util import quantization

    document, query = vectors
    ranges = np.vstack([document.min(axis=0), document.max(axis=0)])
    codes = quantization.quantize_embeddings(document, precision, ranges=ranges)
    search = quantization.semantic_search_usearch if precision == "int8" else quantization.semantic_search_faiss
    theirs, _ = search(query, codes, corpus_precision=precision, top_k=10, ranges=ranges, rescore=rescore, exact=True)[
        :2
    ]
    rows, scores = peers.sentence_transformers(document, precision, rescore=rescore).search(query, 10)
    told = np.array([[hit["score"] for hit in hits] for hits in theirs])
    if rescore:
        np.testing.assert_allclose(scores, told, rtol=1e-5)
    wanted = np.array([[hit["corpus_id"] for hit in hits] for hits in theirs])
    same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, wanted, strict=True)])
    assert same >= (0.999 if precision != "ubinary" else 0.95)  # bits tie at the last place
