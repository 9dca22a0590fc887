"""What parity tests share: real texts of many lengths, and the demo weights on both sides."""

import sysconfig
from pathlib import Path

import pytest

from jaxemb import model


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """200 real texts: docstrings and functions of the standard library, from a few words to far over the limit."""
    from jaxemb.data import functions, sources

    found: list[str] = []
    wanted = ("argparse", "json", "statistics", "textwrap", "collections", "heapq", "difflib", "shutil")
    for source in sources.folder(sysconfig.get_paths()["stdlib"]):
        if source.package in wanted:
            for file in source.files:
                for one in functions.read(str(source.root / file)).functions:
                    found += [one.query, one.document]
    short = sorted(set(found), key=len)
    step = len(short) / 200
    assert step >= 1, f"wanted 200 texts, found {len(short)}"
    return [short[int(i * step)] for i in range(200)]


@pytest.fixture(scope="session")
def ours() -> model.Model:
    return model.load(model.demo_folder())


@pytest.fixture(scope="session")
def theirs():
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model.demo_folder()), device="cpu")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """They import the reference libraries at once: only `-m parity`, or `-m 'parity and ...'`, looks into them."""
    return None if config.getoption("markexpr").split()[:1] == ["parity"] else True
