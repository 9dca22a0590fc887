import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemb.data import first_copies


def jaccard(a: str, b: str, length: int) -> float:
    def runs(text):
        words = re.findall(r"\w+|[^\w\s]", text)
        span = min(length, len(words))
        return {tuple(words[start : start + span]) for start in range(len(words) - span + 1)} if span else set()

    return len(runs(a) & runs(b)) / (len(runs(a) | runs(b)) or 1)


def brute_force(texts: list[str], threshold: float, length: int) -> list[int]:
    first = []
    for row, text in enumerate(texts):
        earlier = (other for other in range(row) if first[other] == other)
        first.append(next((o for o in earlier if jaccard(text, texts[o], length) >= threshold - 1e-9), row))
    return first


def test_by_hand():
    # Runs of 3: `a b c d e f` has 4, `a b c d e f g` has those 4 and one more: 4/5, just enough.
    assert first_copies(["a b c d e f", "a b c d e f g"], threshold=0.8).tolist() == [0, 0]
    assert first_copies(["a b c d e f", "a b c d e f g"], threshold=0.81).tolist() == [0, 1]
    # White space is nothing, marks are something, the order of words matters.
    assert first_copies(["f(x, y)", "f( x,\n y )", "f(x; y)", "f(y, x)"]).tolist() == [0, 0, 2, 3]
    # `b c d e` repeats only a copy, which is not compared with.
    assert first_copies(["a b c d", "a b c d e", "b c d e"], threshold=0.6, length=2).tolist() == [0, 0, 2]


def test_short_and_empty_texts():
    assert first_copies([]).tolist() == []
    assert first_copies(["", "a", "", " ", "a", "a b", "b a", "a b"]).tolist() == [0, 1, 2, 3, 1, 5, 6, 5]


@given(
    texts=st.lists(st.lists(st.sampled_from("abcd("), max_size=9).map(" ".join), max_size=9),
    threshold=st.sampled_from([0.3, 0.5, 0.75, 0.8, 1.0]),
    length=st.sampled_from([1, 2, 3]),
)
def test_nothing_is_missed(texts, threshold, length):
    assert first_copies(texts, threshold=threshold, length=length).tolist() == brute_force(texts, threshold, length)


@pytest.mark.parametrize("setting", [{"threshold": 0.0}, {"threshold": 1.1}, {"length": 0}])
def test_settings_out_of_range(setting):
    with pytest.raises(ValueError, match="wanted 0 < threshold <= 1 and length >= 1, got"):
        first_copies(["a"], **setting)
