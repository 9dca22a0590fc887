import numpy as np
import pytest

from jaxemb import index
from jaxemb.index import interface


@pytest.mark.parametrize(
    ("rows", "got"),
    [
        (np.ones(3, np.float32), r"float32 \[3\]"),
        (np.ones((2, 3)), r"float64 \[2, 3\]"),
        (np.ones((2, 4), np.float32), r"float32 \[2, 4\]"),
        (np.ones((2, 3), np.int8), r"int8 \[2, 3\]"),
    ],
)
def test_shape_and_dtype(rows, got):
    with pytest.raises(ValueError, match=rf"thing: wanted float32 \[n, 3\], got {got}"):
        interface.vectors("thing", rows, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values(bad):
    with pytest.raises(ValueError, match="thing: wanted finite numbers, got NaN or inf in 1 rows, first 1"):
        interface.vectors("thing", np.array([[1.0], [bad]], np.float32))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_no_documents(shape):
    with pytest.raises(ValueError, match=rf"got (float32 )?\[{shape[0]}, {shape[1]}\]"):
        interface.documents("thing", np.ones(shape, np.float32))


@pytest.mark.parametrize("k", [0, -1, 8])
def test_depth(k):
    with pytest.raises(ValueError, match=f"wanted k from 1 to the index's 7 rows, got {k}"):
        interface.depth(k, 7)
    assert interface.depth(7, 7) == 7


@pytest.mark.parametrize(("b", "rows"), [(1, 1), (2, 2), (3, 4), (200, 256), (256, 256)])
def test_few_shapes(b, rows):
    query = np.full((b, 2), 3.0, np.float32)
    got = interface.padded(query)
    assert got.shape == (rows, 2)
    np.testing.assert_array_equal(got[:b], query)
    np.testing.assert_array_equal(got[b:], 0)


def test_bytes_on_disk(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"67")
    assert index.bytes_on_disk(tmp_path) == 7
    with pytest.raises(NotADirectoryError, match="wanted a folder"):
        index.bytes_on_disk(tmp_path / "missing")
