"""The Debian package index as a data set: a short and a long description a package, and tags given by hand.

The files are those of a Debian mirror, `Packages` and `Translation-en`; where none are given the system's own `apt`
fetches those of its release.  The revision is a hash of both.

How (a change of any of this raises the version):

- A package without a long description in `Translation-en`, found by `Description-md5`, is left out, and so is a second
  one of the same name.  Of packages with the same long description only the first by name stays.
- Lines of a paragraph are joined, lists too; ` .` stands between paragraphs, which become `\\n\\n`.
- Packages of one source package share most of their text, so a split is by a hash of the source package's name, and
  so is the order in it: the first thousand packages are a fair sample, and siblings stand together.
- A package whose long description nearly repeats one of an earlier split (see `near_duplicates`) is left out.
"""

import gzip
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from jaxemb import progress
from jaxemb.data import apt, prepared
from jaxemb.data.near_duplicates import first_copies
from jaxemb.data.pairs import Pair, Pairs
from jaxemb.data.task import Task

SPLITS = prepared.SPLITS
OPENERS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.decompress, ".xz": lzma.decompress}


class Package(NamedTuple):
    """A Debian package.

    name: as `python3-numpy`.
    source: the source package it is built of, as `numpy`; packages of one source are siblings.
    section: of the archive, as `python`.
    short: its description in one line.
    long: its description in paragraphs, with an empty line between two.
    tags: concepts of the debtags vocabulary, `facet::tag`, as `role::program`; half of the packages have none.
    """

    name: str
    source: str
    section: str
    short: str
    long: str
    tags: tuple[str, ...]


DESCRIBED = prepared.Described("debian", "1.0.0", Package, "debian.prepare")


def prepare(out: Path | str, folder: Path | str | None = None) -> Path:
    """Make the data set inside `out`, unless it is there already.

    Args:
      out: where data sets of any revision lie side by side.
      folder: with `Packages` and `Translation-en`, plain or `.gz` or `.xz`; by default `apt.index()`.
    Returns: the data set's own folder, `debian@<revision>`, which the other functions read.
    Raises: FileNotFoundError for a missing file; ValueError for one that is no such index, or too small a one.
    """
    folder = apt.index() if folder is None else Path(folder)
    texts = {name: _content(folder, name) for name in ("Packages", "Translation-en")}
    ready = Path(out) / prepared.folder_name(DESCRIBED, texts.items())
    if ready.is_dir():
        progress.say(f"{ready.name}: already prepared")
        return ready
    descriptions = dict(_descriptions(_decoded(folder, "Translation-en", texts)))
    found, tally = distinct(_stanzas(_decoded(folder, "Packages", texts), "Packages"), descriptions)
    splits = _apart(prepared.parted(DESCRIBED, found, lambda package: package.source))
    left = [package for split in SPLITS for package in splits[split]]
    tally |= {
        "nearly the long description of one in another split": len(found) - len(left),
        "packages": len(left),
        "sources": len({package.source for package in left}),
        "packages with tags": sum(bool(package.tags) for package in left),
    }
    tally |= {f"packages to {split}": len(splits[split]) for split in SPLITS}
    prepared.write(DESCRIBED, ready, splits, tally)
    return ready


def packages(folder: Path | str, split: str, first: int | None = None) -> list[Package]:
    """The packages of `train`, `validation` or `test` of what `prepare` returned.

    Args:
      first: only so many, a fair sample of the sources, which is quicker; by default all.
    Raises: ValueError for another split, or more than there are; FileNotFoundError for a folder that is no such data.
    """
    return prepared.rows(DESCRIBED, folder, split, first)


def pairs(folder: Path | str, split: str, first: int | None = None) -> Pairs:
    """Short description to long description, of the same packages in the same order as `packages`."""
    found = packages(folder, split, first)
    return Pairs(len(found), lambda row: Pair(found[row].short, found[row].long))


def task(folder: Path | str, split: str) -> Task:
    """Known-item retrieval: each short description asks for its own package's long one, and for no other.

    Siblings are among the documents, and answer a query nearly as well; they count as wrong.
    """
    found = packages(folder, split)
    names = [each.name for each in found]
    return Task(
        name=Path(folder).resolve().name,
        split=split,
        document_ids=names,
        documents=[each.long for each in found],
        query_ids=names,
        queries=[each.short for each in found],
        judgements={name: {name: 1} for name in names},
    )


def counts(folder: Path | str) -> dict[str, int]:
    """What the data set was made of and what was left out on the way, as `prepare` reported it."""
    return prepared.counts(DESCRIBED, folder)


def concepts(packages: Iterable[Package], *, min_count: int = 50, without: Sequence[str] = ()) -> list[str]:
    """The tags that at least `min_count` of the packages have, by name.

    Of the training packages, so that no concept is known from the others alone.

    >>> some = [Package("a", "a", "net", "", "", ("role::program", "use::chatting")), Package("b", "b", "net", "", "",
    ...         ("role::program", "use::chatting", "x11::applet"))]
    >>> concepts(some, min_count=2, without=["role"])
    ['use::chatting']

    Args:
      without: facets to leave out, the part before `::`; `role` says what kind of files a package has and nothing of
        its subject.
    Raises: ValueError when no tag is left, or for a facet that no package has a tag of.
    """
    used = Counter(tag for package in packages for tag in package.tags)
    facets = {tag.partition("::")[0] for tag in used}
    if unknown := [facet for facet in without if facet not in facets]:
        raise ValueError(f"without: wanted facets of {sorted(facets)}, got {unknown}")
    kept = [tag for tag, count in used.items() if count >= min_count and tag.partition("::")[0] not in without]
    if not kept:
        raise ValueError(f"no tag of {len(used)} is used {min_count} times; the most used is {used.most_common(1)}")
    return sorted(kept)


def labels(packages: Sequence[Package], concepts: Sequence[str]) -> Bool[np.ndarray, "n c"]:
    """Which of the concepts each package is tagged with; a row may have none.

    Raises: ValueError for no concept, or one given twice.
    """
    place = {concept: column for column, concept in enumerate(concepts)}
    if not concepts or len(place) < len(concepts):
        twice = [concept for concept, count in Counter(concepts).items() if count > 1]
        raise ValueError(f"labels: wanted different concepts, one or more, got {len(concepts)}, twice {twice[:5]}")
    table = np.zeros((len(packages), len(place)), bool)
    for row, package in enumerate(packages):
        table[row, [place[tag] for tag in package.tags if tag in place]] = True
    return table


def links(folder: Path | str, fields: Sequence[str] = ("Recommends", "Suggests")) -> dict[str, frozenset[str]]:
    """Which other packages each one names in some fields of `Packages`, alternatives and all, without versions.

    Args:
      folder: of the index itself, as `apt.index()`: data sets of it have no links.
    Raises: FileNotFoundError for a missing file; ValueError for one that is no such index.
    """
    folder = Path(folder)
    text = _decoded(folder, "Packages", {"Packages": _content(folder, "Packages")})
    return {
        stanza["Package"]: named(", ".join(stanza[field] for field in fields if field in stanza))
        for stanza in _stanzas(text, "Packages")
    }


def named(field: str) -> frozenset[str]:
    """The packages of a field as `Depends`.

    >>> sorted(named("cups (>= 2.4), python3:any | lpr, ttf-dejavu"))
    ['cups', 'lpr', 'python3', 'ttf-dejavu']
    """
    return frozenset(re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]*)", field))


def split_of(source: str) -> str:
    """The split of a source package, by a hash of its name: 80% are `train`, 10% `validation` and 10% `test`."""
    return prepared.split_of(DESCRIBED, source)


def distinct(stanzas: Iterable[dict[str, str]], descriptions: dict[str, str]) -> tuple[list[Package], dict[str, int]]:
    """Packages by name without those that repeat an earlier one, and how many went for which reason.

    Args:
      stanzas: fields of the packages.
      descriptions: `Description-md5` to the whole description, as it stands in the file.
    """
    firsts: dict[str, dict[str, str]] = {}
    seen = 0
    for stanza in stanzas:
        seen += 1
        firsts.setdefault(stanza["Package"], stanza)
    told = [_package(firsts[name], descriptions) for name in sorted(firsts)]
    whole = [each for each in told if each.short and each.long]
    kept: dict[str, Package] = {}
    for each in whole:
        kept.setdefault(each.long, each)
    return list(kept.values()), {
        "packages in the index": seen,
        "of the name of another": seen - len(firsts),
        "without a long description": len(told) - len(whole),
        "with the long description of another": len(whole) - len(kept),
    }


def _apart(splits: dict[str, list[Package]]) -> dict[str, list[Package]]:
    """Splits without what nearly repeats an earlier one."""
    progress.say("debian: looking for long descriptions that nearly repeat one of another split")
    rows = [(split, package) for split in SPLITS for package in splits[split]]
    copies = first_copies([package.long for _, package in rows])
    kept: dict[str, list[Package]] = {split: [] for split in SPLITS}
    for (split, package), copy in zip(rows, copies, strict=True):
        if rows[copy][0] == split:
            kept[split].append(package)
    return kept


def unwrapped(lines: Sequence[str]) -> str:
    """Lines of a long description as paragraphs.

    >>> unwrapped([" one", "  * two", " .", " three"])
    'one * two\\n\\nthree'
    """
    paragraphs = "\n".join("" if line.strip() == "." else line.strip() for line in lines).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip())


def tags(field: str) -> tuple[str, ...]:
    """The tags of a field, in its order, each once.

    >>> tags("role::program, x::{a,b},\\n use::chatting")
    ('role::program', 'x::a', 'x::b', 'use::chatting')

    Raises: ValueError for a tag that is not `facet::tag`.
    """
    found: dict[str, None] = {}
    for tag in re.split(r",\s*(?![^{]*\})", " ".join(field.split())):
        named = re.fullmatch(r"([\w.+-]+::)(?:([\w.+:-]+)|\{([^{}]+)\})", tag)
        if named is None:
            raise ValueError(f"wanted tags as role::program, got {tag[:60]!r}")
        found |= {named[1] + each.strip(): None for each in (named[2] or named[3]).split(",")}
    return tuple(found)


def _package(stanza: dict[str, str], descriptions: dict[str, str]) -> Package:
    name = stanza["Package"]
    short, *long = descriptions.get(stanza.get("Description-md5", ""), "").split("\n")
    try:
        known = tags(stanza["Tag"]) if stanza.get("Tag") else ()
    except ValueError as error:
        raise ValueError(f"Packages, {name}: {error}") from error
    source = stanza.get("Source", name).partition(" ")[0]  # a version may stand behind it
    return Package(name, source, stanza.get("Section", ""), " ".join(short.split()), unwrapped(long), known)


def _descriptions(text: str) -> Iterator[tuple[str, str]]:
    for stanza in _stanzas(text, "Translation-en"):
        if "Description-md5" not in stanza or "Description-en" not in stanza:
            raise ValueError(f"Translation-en, {stanza['Package']}: no Description-md5 or no Description-en")
        yield stanza["Description-md5"], stanza["Description-en"]


def _stanzas(text: str, file: str) -> Iterator[dict[str, str]]:
    """The fields of every stanza; the lines of one field stay as they are."""
    none = True
    for stanza in re.split(r"\n\n+", text.strip("\n")):
        fields: dict[str, str] = {}
        for field in re.split(r"\n(?![ \t])", stanza):
            name, colon, value = field.partition(":")
            if not colon or not re.fullmatch(r"[!-~]+", name):
                raise ValueError(f"{file}: wanted fields as 'Package: some', got {field[:60]!r}")
            fields[name] = value.removeprefix(" ")
        if "Package" not in fields:
            raise ValueError(f"{file}: a stanza without a Package: {stanza[:60]!r}")
        none = False
        yield fields
    if none:
        raise ValueError(f"{file}: no package in it")


def _content(folder: Path, name: str) -> bytes:
    for ending, opened in OPENERS.items():
        file = folder / (name + ending)
        if file.is_file():
            try:
                return opened(file.read_bytes())
            except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(f"{file}: broken or cut short ({error})") from error
    raise FileNotFoundError(f"{folder}: no {name}, plain or {' or '.join(ending for ending in OPENERS if ending)}")


def _decoded(folder: Path, name: str, texts: dict[str, bytes]) -> str:
    try:
        return texts[name].decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{folder}: {name} is no UTF-8 text ({error})") from error
