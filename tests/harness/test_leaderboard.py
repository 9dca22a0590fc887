import struct

import pytest
from synthetic_records import quickstart, record, system

from jaxemb.harness import leaderboard, plot, summarise
from jaxemb.harness import record as records

FILES = ["leaderboard.csv", "leaderboard.html", "leaderboard.md", "leaderboard.png", "records.jsonl"]


def test_everything_is_derived_from_the_records(tmp_path):
    board = leaderboard.write(quickstart(), tmp_path / "one")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == FILES
    again = leaderboard.write(records.read(tmp_path / "one" / "records.jsonl"), tmp_path / "two")
    assert again == board
    for name in set(FILES) - {"leaderboard.png"}:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_nothing_is_written_of_records_that_make_no_table(tmp_path):
    with pytest.raises(ValueError, match="of one task"):
        leaderboard.write([record("a", "m", [1]), record("a", "m", [1], task="other@1/test")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_costs_there_is_no_plot_and_no_old_one(tmp_path):
    leaderboard.write(quickstart(), tmp_path)
    leaderboard.write([record("a", "ndcg@10", [0.1, 0.2], "query")], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name for name in FILES if not name.endswith("png")]
    with pytest.raises(ValueError, match="no system has both nDCG@10 and a cost"):
        plot.png(summarise([record("a", "ndcg@10", [0.1, 0.2], "query")]), tmp_path / "plot.png")


@pytest.mark.parametrize("name", ["plain", "$\\frac{1}$ <b> [x] _y_ {z}"])
def test_the_plot_is_a_picture_whatever_the_names(tmp_path, name):
    plot.png(summarise(system(name, 0.5, 8, 1, encoder=name)), tmp_path / "plot.png")
    content = (tmp_path / "plot.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", content[16:24]) == (1920, 750)
