"""The page opened from disk in headless Chromium: no error in its console, and it sorts."""

import json
import re
import shutil
import subprocess

import pytest
from synthetic_records import quickstart, system

from jaxemb.harness import page, summarise

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--dump-dom",
]

CLICKS = """<script>
const order = () => [...document.querySelectorAll("tbody tr")].map((row) => Number(row.dataset.row));
const heads = () => [...document.querySelectorAll("thead th[aria-sort]")];
const sorted = () => heads().map((head) => head.getAttribute("aria-sort"));
const click = (select) => { document.querySelector(select + " button").click(); return [order(), sorted()]; };
const told = {
  start: [order(), sorted()],
  costly: click('th[data-key="bytes_per_vector"]'),
  cheap: click('th[data-key="bytes_per_vector"]'),
  faithful: click('th[data-key="fidelity@10"]'),
  names: click("th.text"),
  rank: click("thead th:first-child"),
};
document.querySelector("tbody tr").dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
told.tied = [...document.querySelectorAll("tr.tie")].map((row) => Number(row.dataset.row));
told.dimmed = document.querySelectorAll("g.dim").length;
told.width = document.documentElement.scrollWidth <= window.innerWidth;
const out = document.createElement("pre");
out.id = "told";
out.textContent = JSON.stringify(told);
document.body.append(out);
</script>"""


def opened(path, folder):
    """The page as the browser leaves it, and what it wrote to its console."""
    if CHROMIUM is None:
        pytest.skip("NO CHROMIUM ON THIS MACHINE: the leaderboard page was not opened in a browser")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def board():
    return summarise(quickstart())


def test_no_error_in_the_console(tmp_path, board):
    path = tmp_path / "leaderboard.html"
    path.write_text(page.html(board), encoding="utf-8")
    dom, console = opened(path, tmp_path)
    assert "token average" in dom
    assert console == []
    path.write_text(page.html(board).replace("const body =", "const body = nothing;"), encoding="utf-8")
    assert opened(path, tmp_path)[1] != []  # an error would have been seen


def test_it_sorts(tmp_path, board):
    path = tmp_path / "clicked.html"
    path.write_text(page.html(board).replace("</body>", CLICKS + "</body>"), encoding="utf-8")
    dom, console = opened(path, tmp_path)
    assert console == []
    told = json.loads(re.search(r'<pre id="told">(.*?)</pre>', dom).group(1))
    rows = list(range(len(board.rows)))
    width = [row.cells["bytes_per_vector"].value for row in board.rows]
    assert told["start"] == [rows, ["ascending"]]
    assert told["costly"] == [sorted(rows, key=lambda row: width[row]), ["ascending"]]
    assert told["cheap"][0] == sorted(rows, key=lambda row: -width[row])
    assert told["cheap"][1] == ["descending"]
    assert told["faithful"][1] == ["descending"]
    assert board.rows[told["faithful"][0][-1]].label == "BM25"  # not measured, so last
    names = [board.rows[row].label for row in told["names"][0]]
    assert names == sorted(names, key=str.casefold)
    assert told["rank"] == [rows, ["ascending"]]
    assert told["tied"] == [1, 2]
    assert told["dimmed"] == 2 * 2 * (len(rows) - 1)  # mark and name, in both plots
    assert told["width"]  # the table scrolls inside its box, not the page


def test_hostile_names_do_nothing(tmp_path):
    name = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    path = tmp_path / "hostile.html"
    path.write_text(page.html(summarise(system(name, 0.5, 8, 1) + system("b", 0.4, 8, 1))), encoding="utf-8")
    dom, console = opened(path, tmp_path)
    assert console == []
    assert "<title>Leaderboard: toy@1/test</title>" in dom
