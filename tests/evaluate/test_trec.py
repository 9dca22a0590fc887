import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxemb import evaluate

WORD = st.text(st.characters(blacklist_categories=["Cs", "Z", "Cc"]), min_size=1, max_size=5)


@settings(deadline=None, max_examples=30)
@given(
    run=st.dictionaries(
        WORD, st.dictionaries(WORD, st.floats(allow_nan=False), min_size=1, max_size=5), min_size=1, max_size=3
    )
)
def test_a_run_comes_back(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("trec") / "run.txt"
    evaluate.write_run(path, run, "tag")
    assert evaluate.read_run(path) == run


def test_run_as_text(tmp_path):
    evaluate.write_run(tmp_path / "run", {"q": {"a": 0.5, "c": 0.5, "b": np.float32(0.1)}}, "mine")
    assert (tmp_path / "run").read_text() == (
        "q Q0 c 1 0.5 mine\nq Q0 a 2 0.5 mine\nq Q0 b 3 0.10000000149011612 mine\n"
    )


def test_judgements_come_back(tmp_path):
    judgements = {"q1": {"d1": 2, "d2": -1}, "q2": {"d1": 0}}
    evaluate.write_judgements(tmp_path / "qrels", judgements)
    assert (tmp_path / "qrels").read_text() == "q1 0 d1 2\nq1 0 d2 -1\nq2 0 d1 0\n"
    assert evaluate.read_judgements(tmp_path / "qrels") == judgements


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 d 1 0.5 tag\nq Q0 e 2 0.4\n", "line 2: wanted 6 fields.*got 5"),
        ("q Q0 d 1 high tag\n", "line 1: 'high' is no score"),
        ("\nq Q0 d 1 nan tag\n", "line 2: NaN is no score"),
        ("q Q0 d 1 1 t\nq Q0 d 2 0 t\n", "line 2: document 'd' is there twice"),
        ("\n", "got none"),
    ],
)
def test_bad_runs_name_the_line(tmp_path, text, message):
    (tmp_path / "run").write_text(text)
    with pytest.raises(ValueError, match=message):
        evaluate.read_run(tmp_path / "run")


def test_bad_judgements_name_the_line(tmp_path):
    path = tmp_path / "qrels"
    path.write_text("q 0 d 1\nq 0 e 1.5\n")
    with pytest.raises(ValueError, match=r"line 2: '1\.5' is no grade"):
        evaluate.read_judgements(path)
    path.write_bytes(b"q 0 d 1\nq 0 \xff 1\n")
    with pytest.raises(ValueError, match="line 2: not UTF-8"):
        evaluate.read_judgements(path)


@pytest.mark.parametrize(
    ("run", "tag"), [({"a b": {"d": 1.0}}, "t"), ({"q": {"": 1.0}}, "t"), ({"q": {"d": 1.0}}, " ")]
)
def test_what_the_format_cannot_hold_is_not_written(tmp_path, run, tag):
    with pytest.raises(ValueError, match="one word without white space"):
        evaluate.write_run(tmp_path / "run", run, tag)
    assert not (tmp_path / "run").exists()


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="document 'd' has NaN"):
        evaluate.write_run(tmp_path / "run", {"q": {"d": float("nan")}}, "t")
