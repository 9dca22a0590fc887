import csv
import io

import pytest
from rich.console import Console
from synthetic_records import quickstart, record, system

from jaxemb.harness import summarise, tables, terminal


@pytest.fixture(scope="module")
def board():
    return summarise(quickstart())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.0999999, "0.100"),
        (999.6, "1,000"),
        (1.005, "1.00"),
        (123456.0, "123,000"),
        (0.00012345, "0.000123"),
    ],
)
def test_significant(value, text):
    assert tables.significant(value) == text


def test_markdown_has_every_row_and_says_how(board):
    text = tables.markdown(board)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(board.rows)
    assert len({line.count("|") for line in table}) == 1
    assert "| 1–3 tied with MiniLM int8, MiniLM ScaNN | MiniLM | 0.552 [0.518–0.586] |" in text  # noqa: RUF001
    assert "Device: 2-core CPU (toy)." in text
    assert "jax 0.10.2" in text


def test_markdown_escapes_names():
    found = tables.markdown(summarise(system("a|b <i> *c* `d`\ne", 0.5, 8, 1)))
    assert r"a\|b &lt;i> \*c\* \`d\` e" in found


def test_comma_separated_keeps_every_digit(board):
    found = list(csv.DictReader(io.StringIO(tables.comma_separated(board))))
    assert [line["system"] for line in found] == [row.label for row in board.rows]
    for line, row in zip(found, board.rows, strict=True):
        assert (int(line["rank_best"]), int(line["rank_worst"])) == (row.best, row.worst)
        for key, cell in row.cells.items():
            got = [line[f"{key}{end}"] for end in ("_low", "", "_high")]
            assert got == ["" if end is None else repr(end) for end in (cell or (None, None, None))]


def test_terminal_shows_names_as_they_are():
    out = io.StringIO()
    table = terminal(summarise([*system("[bold]int8[/bold]", 0.5, 8, 1), record("b", "ndcg@10", [0.1] * 120, "query")]))
    Console(file=out, width=140).print(table)
    assert "[bold]int8[/bold]" in out.getvalue()
    assert "\N{EN DASH}" in out.getvalue()
    assert "2-core CPU (toy)" in out.getvalue()
