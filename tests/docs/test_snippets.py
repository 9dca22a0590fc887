"""Every Python block of the documentation and of the README runs, page by page, as a reader would paste it."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "pages"
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Folders whose page has another name.
ELSEWHERE = {"commands": "command_line", "index": "indexes", "recipes": "recipes/static_student"}


def blocks(page):
    """The blocks of a page with the line each starts at."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start(1)), found[1]) for found in FENCE.finditer(text)]


def documents():
    """Every page with a Python block."""
    pages = [*sorted(PAGES.rglob("*.md")), ROOT / "README.md"]
    return [page for page in pages if blocks(page)]


def run(page, namespace):
    """All blocks of a page in one namespace, in order; a block with prompts also has to print what it shows."""
    for start, code in blocks(page):
        if code.lstrip().startswith(">>>"):
            example = doctest.DocTestParser().get_doctest(code, namespace, page.name, str(page), start)
            told = []
            done = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=told.append, clear_globs=False)
            assert not done.failed, "".join(told)
            namespace.update(example.globs)
        else:
            # Blank lines in front, so that a traceback names the page's own line.
            exec(compile("\n" * start + code, str(page), "exec"), namespace)


# Slow pages, all of which other tests do as well.
SHOWN_BY_TESTS = (
    *("train.md", "cross_encoders.md", "images.md", "losses.md", "model.md", "encode.md", "corpora.md"),
    *("small_encoders.md", "late_interaction.md", "harness.md", "compress.md"),
)


def asked(page):
    """A page as a case; those of recipes and of `SHOWN_BY_TESTS` are run by `-m grid` alone."""
    marks = pytest.mark.grid if page.parent.name == "recipes" or page.name in SHOWN_BY_TESTS else pytest.mark.slow
    return pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=marks)


@pytest.mark.parametrize("page", [asked(page) for page in documents()])
def test_snippets_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(page, {"__name__": "snippet"})


@pytest.mark.parametrize(
    "code",
    [
        "assert 1 + 1 == 3\n",
        ">>> 1 + 1\n3\n",
        ">>> nothing\n1\n",
    ],
)
def test_a_wrong_snippet_fails(code, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n```python\n{code}```\n")
    with pytest.raises(AssertionError):
        run(page, {})


def test_every_fence_is_read():
    for page in [*PAGES.rglob("*.md"), ROOT / "README.md"]:
        assert len(blocks(page)) == page.read_text(encoding="utf-8").count("```python"), page


def test_every_folder_has_a_page():
    folders = [init.parent.name for init in (ROOT / "jaxemb").glob("*/__init__.py")]
    assert [name for name in folders if not (PAGES / f"{ELSEWHERE.get(name, name)}.md").is_file()] == []
