"""The Python code on this machine that a data set can be made of: the standard library and what jaxemb depends on."""

import importlib.metadata
import keyword
import os
import re
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

EXTRAS = frozenset({"index", "data", "bench"})
TEST_PARTS = re.compile(r"tests?|testing|idle_test|conftest|(tests?_.*)|(.*_tests?)")


class Source(NamedTuple):
    """The files of one top-level package, or of one module that stands alone.

    package: its name, as `json` or `numpy`.
    root: the folder that holds it.
    files: paths from `root`, as `json/decoder.py`, sorted.
    """

    package: str
    root: Path
    files: tuple[str, ...]


def folder(root: Path | str) -> list[Source]:
    """Every package and module under `root`, by name.

    Left out is what cannot be imported by a plain name (so `site-packages` and `config-3.11` in the standard library's
    folder), `_sysconfigdata*` (settings of one machine), and test code: `TEST_PARTS` is a folder or file of a path.
    """
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"no folder of Python packages: {root}")
    # os.walk, not rglob: a whole site-packages need not be listed only to be left out.
    return _grouped(root, (path.relative_to(root) for path in _walk(root)))


def installed() -> list[Source]:
    """The standard library, and the installed packages that jaxemb's own metadata leads to, its extras `index`, `data`
    and `bench` included where they are installed; jaxemb itself is not among them.

    Raises: importlib.metadata.PackageNotFoundError when jaxemb runs from a folder without being installed.
    """
    sources = folder(sysconfig.get_paths()["stdlib"])
    for distribution in dependencies("jaxemb", EXTRAS):
        paths = [PurePath(path) for path in distribution.files or () if path.suffix == ".py" and ".." not in path.parts]
        sources += _grouped(Path(str(distribution.locate_file(""))), paths)
    return sources


def dependencies(name: str, extras: Iterable[str]) -> list[importlib.metadata.Distribution]:
    """The installed distributions that `name[extras]` asks for, directly or not, by name; `name` itself is left out.

    Of the conditions on a requirement only `extra` is weighed: one that is not met brings nothing that is installed.
    """
    found = {_plain(name): importlib.metadata.distribution(name)}
    asked: dict[str, set[str]] = defaultdict(set)
    waiting = [(_plain(name), {_plain(extra) for extra in extras})]
    while waiting:
        current, wanted = waiting.pop()
        if asked[current] and wanted <= asked[current]:
            continue
        asked[current] |= wanted | {""}
        for needed, needed_extras in _requirements(found[current], asked[current]):
            if needed not in found:
                try:
                    found[needed] = importlib.metadata.distribution(needed)
                except importlib.metadata.PackageNotFoundError:
                    continue  # an extra that is not installed, or another system's requirement
            waiting.append((needed, needed_extras))
    del found[_plain(name)]
    return [found[key] for key in sorted(found)]


def _requirements(distribution: importlib.metadata.Distribution, extras: set[str]) -> Iterator[tuple[str, set[str]]]:
    for requirement in distribution.requires or ():
        what, _, condition = requirement.partition(";")
        named = re.match(r"\s*([\w.-]+)\s*(?:\[([^]]*)])?", what)
        if named is None:
            raise ValueError(f"{distribution.name}: a requirement without a name: {requirement!r}")
        conditional = {_plain(extra) for extra in re.findall(r"extra\s*==\s*['\"]([^'\"]+)", condition)}
        if not conditional or conditional & extras:
            yield _plain(named[1]), {_plain(extra) for extra in re.findall(r"[\w.-]+", named[2] or "")}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PyPA's "Names and normalization"


def _walk(root: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if _wanted(name)]
        yield from (Path(place, name) for name in names if name.endswith(".py"))


def _wanted(part: str) -> bool:
    importable = part.isidentifier() and not keyword.iskeyword(part)
    return importable and not part.startswith("_sysconfigdata") and TEST_PARTS.fullmatch(part) is None


def _grouped(root: Path, paths: Iterable[PurePath]) -> list[Source]:
    packages: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if all(_wanted(part) for part in path.with_suffix("").parts):
            packages[path.with_suffix("").parts[0]].append(path.as_posix())
    return [Source(package, root, tuple(sorted(files))) for package, files in sorted(packages.items())]
