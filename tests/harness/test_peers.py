"""Codes and scores as sentence-transformers makes them; tests/parity compares with the library itself."""

import numpy as np
import pytest

from jaxemb.harness import peers


@pytest.fixture(scope="module")
def vectors():
    draw = np.random.default_rng(0).normal(size=(220, 16)) + np.linspace(0, 2, 16)
    draw = (draw / np.linalg.norm(draw, axis=1, keepdims=True)).astype(np.float32)
    return draw[:200], draw[200:]


def test_codes_by_hand():
    """Between 0 and 255 a step is 1: 3.9 is the fourth step's lower end, 3."""
    document = np.array([[0.0, 5.0], [255.0, 5.0], [3.9, 5.0]], np.float32)
    low, step = peers._ranges(document)
    assert peers._coded(document, "uint8", low, step).tolist() == [[0, 0], [255, 0], [3, 0]]
    codes = peers._coded(document, "int8", low, step)
    assert codes.tolist() == [[-128, -128], [127, -128], [-125, -128]]
    assert peers._decoded(codes[None], "int8", low, step, 2).tolist() == [[[0, 5], [255, 5], [3, 5]]]
    assert peers._coded(document - 4, "ubinary", low, step).tolist() == [[64], [192], [64]]


@pytest.mark.parametrize("precision", peers.PRECISIONS)
def test_ranked_by_the_codes_themselves(vectors, precision):
    document, query = vectors
    low, step = peers._ranges(document)
    codes, asked = (peers._coded(rows, precision, low, step) for rows in (document, query))
    if precision == "ubinary":
        scores = -np.unpackbits(codes[None] ^ asked[:, None], axis=2).sum(axis=2).astype(np.int64)
    else:
        scores = asked.astype(np.int64) @ codes.astype(np.int64).T
    rows, _ = peers.sentence_transformers(document, precision, rescore=False).search(query, 5)
    np.testing.assert_array_equal(
        np.take_along_axis(scores, rows, 1), np.sort(scores, axis=1)[:, ::-1][:, :5]
    )  # of equals, either


@pytest.mark.parametrize("precision", peers.PRECISIONS)
def test_rescored_finds_no_less(vectors, precision):
    document, query = vectors
    wanted = np.argsort(-query @ document.T, axis=1)[:, :10]
    found = [
        peers.sentence_transformers(document, precision, rescore=rescore).search(query, 10)[0]
        for rescore in (False, True)
    ]
    shares = [np.mean([len(set(a) & set(b)) for a, b in zip(rows, wanted, strict=True)]) for rows in found]
    assert shares[0] < shares[1]


def test_unknown_precision(vectors):
    with pytest.raises(ValueError, match="int8, uint8, ubinary, got 'binary'"):
        peers.sentence_transformers(vectors[0], "binary", rescore=False)
