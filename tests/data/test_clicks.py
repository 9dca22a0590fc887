import numpy as np
import pytest

from jaxemb.data import clicks
from jaxemb.data.clicks import Clicks

FILES = {
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "7\t24\tM\ttechnician\t85711\n9\t53\tF\tother\t94043\n",
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "3\tFour Rooms\t1995\tThriller\n5\tThe Copy\t\tCrime Drama\n",
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "9\t5\t3\t881250949\n7\t3\t4\t878887116\n7\t5\t5\t881250950\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_movielens_by_hand(folder):
    got = clicks.movielens(folder)
    assert got.names == clicks.FIELDS
    assert got.sizes == (2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3)
    np.testing.assert_array_equal(got.clicked, [True, False, True])  # in the order of time
    column = dict(zip(got.names, got.ids.T.tolist(), strict=True))
    assert column["user"] == [0, 1, 0]
    assert column["item"] == [0, 1, 1]
    assert column["genre"] == [1, 0, 0]  # Crime before Thriller
    assert column["weekday"] == [1, 0, 0]  # a Friday in November 1997, then a Thursday in December
    assert column["user and genre"] == [1, 2, 0]
    clicks.check(got)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("ml-100k.user", lambda text: text.replace("age:token", "years:token"), "got none called age"),
        ("ml-100k.item", lambda text: text + "6\ttorn\n", "line 4: wanted 4 columns, got 2"),
        ("ml-100k.inter", lambda text: text + "8\t3\t1\t1\n", "user '8' and item '3', of which one is unknown"),
    ],
)
def test_broken_files_are_refused(folder, name, change, said):
    (folder / name).write_text(change(FILES[name]))
    with pytest.raises(ValueError, match=said):
        clicks.movielens(folder)


def test_a_drawn_log_is_uneven_and_its_logits_order_it_best():
    made = clicks.drawn((5, 1200), 4000, seed=3)
    again = clicks.drawn((5, 1200), 4000, seed=3)
    np.testing.assert_array_equal(made.clicks.ids, again.clicks.ids)
    clicks.check(made.clicks)
    counts = [np.sort(column)[::-1] for column in clicks.counts(made.clicks)]
    assert [len(column) for column in counts] == [5, 1200]
    assert sum(column.sum() for column in counts) == 8000
    assert counts[1][:10].sum() > 0.3 * 4000
    upper = made.logits > np.median(made.logits)
    assert made.clicks.clicked[upper].mean() > made.clicks.clicked[~upper].mean() + 0.2


def test_parts_are_cut_by_time():
    made = clicks.drawn((5, 7), 100, seed=0).clicks
    log = clicks.by_time(made, validation=0.1, test=0.2)
    assert [len(part.ids) for part in log] == [70, 10, 20]
    np.testing.assert_array_equal(np.concatenate([part.ids for part in log]), made.ids)
    assert [len(part.ids) for part in clicks.by_time(made, validation=0.0, test=0.2)] == [80, 0, 20]


MADE = Clicks(("a", "b"), (2, 3), np.array([[0, 2], [1, 0]], np.int32), np.array([True, False]), np.zeros((2, 0)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": MADE.ids + np.array([[0, 1]])}, r"ids of 'b' in \[0, 3\), got 3 in row 0"),
        ({"ids": MADE.ids - 1}, "got -1 in row 0"),
        ({"ids": MADE.ids.astype(np.float32)}, "wanted whole numbers as ids, got float32"),
        ({"clicked": MADE.clicked[:1]}, "wanted as many rows of ids, clicks and numbers"),
        ({"sizes": (2,)}, "wanted a size and a name for each of 2 fields, got 1 and 2"),
    ],
)
def test_unsound_logs_are_refused(as_users_call, change, said):
    with pytest.raises(ValueError, match=said):
        clicks.check(MADE._replace(**change))


@pytest.mark.parametrize("shares", [(0.5, 0.6), (0.1, 0.0), (0.0, 0.001)])
def test_shares_that_leave_a_part_empty_are_refused(shares):
    with pytest.raises(ValueError, match="leave a part of 100 rows without any"):
        clicks.by_time(clicks.drawn((5, 7), 100, seed=0).clicks, *shares)
