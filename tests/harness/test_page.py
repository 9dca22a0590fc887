"""The page as text: whole, self-contained and true to the board.  test_page_in_browser opens it."""

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from synthetic_records import quickstart, record, system

from jaxemb.harness import page, summarise
from jaxemb.harness.summary import as_json

VOID = {"meta", "line", "circle", "rect", "polygon", "polyline"}
HOSTILE = "</script><script>alert(1)</script> \"quoted\" & 'single' <b>"


class Reader(HTMLParser):
    """Tags with their attributes, the text inside, and whether every tag that opens is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.cells, self.scripts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td" or (tag == "th" and dict(attributes).get("scope") == "row"):
            self.cells.append([dict(attributes)["data-value"], ""])

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th", "span") and "tbody" in self.open:
            self.cells[-1][1] += data
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)


@pytest.fixture(scope="module")
def board():
    return summarise(quickstart())


@pytest.fixture(scope="module")
def text(board):
    return page.html(board)


def test_every_tag_closes_and_every_row_is_there(board, text):
    read = Reader(text)
    assert read.open == []
    assert len(read.cells) == len(board.rows) * (2 + len(board.columns))
    assert sum(tag == "tr" for tag, _ in read.tags) == 1 + len(board.rows)


def test_nothing_is_fetched(text):
    names = {name for _, attributes in Reader(text).tags for name in attributes}
    assert not names & {"src", "href", "srcset", "action", "data", "xlink:href"}
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttpRequest", text)
    assert "default-src 'none'" in text


def test_the_numbers_inside_are_those_of_the_board(board, text):
    summary = json.loads(Reader(text).scripts[0])
    assert summary == json.loads(json.dumps(as_json(board)))


def test_cells_sort_by_the_number_and_not_by_its_text(board, text):
    read = Reader(text)
    width = 2 + len(board.columns)
    for place, row in enumerate(board.rows):
        line = read.cells[place * width : (place + 1) * width]
        assert line[1][0] == row.label
        for (value, shown), cell in zip(line[2:], row.cells.values(), strict=True):
            assert value == ("" if cell is None else repr(cell.value))
            assert (shown.strip() == "\N{EN DASH}") == (cell is None)


def test_it_says_what_was_measured_on_and_how(board, text):
    for said in ("toy@1/test", "2-core CPU (toy)", "jax 0.10.2", "BCa bootstrap", "paired bootstrap", "100 documents"):
        assert said in text


def test_plots_are_well_formed_and_draw_every_system(board, text):
    plots = [ElementTree.fromstring(svg) for svg in re.findall(r'<svg viewBox="0 0 560.*?</svg>', text, re.DOTALL)]
    assert len(plots) == 2
    for plot in plots:
        assert {int(group.get("data-row")) for group in plot.findall("g[@data-row]")} == set(range(len(board.rows)))
        for name in plot.findall("g/text"):
            assert 0 < float(name.get("x")) < 560
            assert 0 < float(name.get("y")) < 400


def test_names_are_escaped():
    found = system(HOSTILE, 0.5, 8, 1) + system("plain", 0.4, 8, 1)
    text = page.html(summarise([*found, record(HOSTILE, HOSTILE, [1], config=found[0].config)]))
    read = Reader(text)
    assert read.open == []
    assert [attributes.get("id") for tag, attributes in read.tags if tag == "script"] == ["summary", None]
    assert json.loads(read.scripts[0])["rows"][0]["label"] == HOSTILE
    assert "<b>" not in text


def test_what_lacks_a_number_is_named_under_the_plot():
    text = page.html(summarise([*system("a", 0.5, 8, 1), *system("no width", 0.4, None, 1)]))
    assert "for want of one of the two numbers: no width." in text


def test_a_board_without_costs_has_no_plot():
    text = page.html(summarise([record("a", "ndcg@10", [0.1, 0.2], "query")]))
    assert Reader(text).open == []
    assert "<figure>" not in text
