"""Records to everything that is shown of them, in one folder."""

from collections.abc import Sequence
from pathlib import Path

from jaxemb import atomic
from jaxemb.harness import page, plot, record, tables
from jaxemb.harness.panels import LEADERBOARD, Axes, groups, panels
from jaxemb.harness.record import Record
from jaxemb.harness.summary import Board, summarise


def write(
    records: Sequence[Record],
    folder: Path | str,
    *,
    ranked_by: str = "ndcg@10",
    seed: int = 0,
    axes: Sequence[Axes] = LEADERBOARD,
    picture: str = "leaderboard.png",
) -> Board:
    """Write `leaderboard.html`, `.md`, `.csv`, `.png` and `records.jsonl`, each whole or not at all.

    All but the last are made from the records alone: `write(record.read(folder / "records.jsonl"), folder)` makes them
    again.  Without a system that has both a quality and a cost there is no plot, and an old one is removed.

    Args:
      axes: what the plots are of.
      picture: the name of their file, `.png` or `.svg`.
    Returns: the board, for `tables.terminal`.
    Raises: what `summarise` raises, before anything is written; ImportError that names the extra, without jinja2 or
      matplotlib.
    """
    board, folder = summarise(records, ranked_by=ranked_by, seed=seed), Path(folder)
    texts = {
        "leaderboard.html": page.html(board, axes),
        "leaderboard.md": tables.markdown(board),
        "leaderboard.csv": tables.comma_separated(board),
    }
    record.write(folder / "records.jsonl", records)
    for name, text in texts.items():
        with atomic.file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    if drawn := panels(board, axes):
        plot.draw(drawn, groups(board), board.task, folder / picture)
    else:
        (folder / picture).unlink(missing_ok=True)
    return board
