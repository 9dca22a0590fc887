"""WordNet as a data set: what an English word means, its synonyms, and examples of its use; a row a synset.

The files are `data.noun`, `data.verb`, `data.adj` and `data.adv` of WordNet 3.0 or 3.1; where none are given they come
out of Debian's package `wordnet-base`.  The revision is a hash of them.  Splits are by a hash of the synset's id, and
so is the order in them: the first thousand are a fair sample of all.

Source: Miller 1995, "WordNet: a lexical database for English".
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxemb import progress
from jaxemb.data import apt, prepared

SPLITS = prepared.SPLITS
FILES = ("data.noun", "data.verb", "data.adj", "data.adv")
SYNSET = re.compile(r"(\d{8}) \d\d ([nvasr]) ([\da-f]{2}) (.*?) \| (.*)")
QUOTED = re.compile(r'"([^"]*)"')
OPENING = re.compile(r'\s*[;:,]\s*(?=")')


class Synset(NamedTuple):
    """Words that mean the same.

    id: the part of speech and the place in its file, as `n00001740`; of one version of WordNet only.
    part: of speech, `n`, `v`, `a` or `r` (adverb); satellites of adjectives are adjectives.
    lemmas: the words, the most usual first, as `physical entity`.
    definition: the gloss before its examples.
    examples: sentences or phrases; most synsets have none.
    """

    id: str
    part: str
    lemmas: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]


DESCRIBED = prepared.Described("wordnet", "1.0.0", Synset, "wordnet.prepare")


def prepare(out: Path | str, folder: Path | str | None = None) -> Path:
    """Make the data set inside `out`, unless it is there already.

    Args:
      out: where data sets of any revision lie side by side.
      folder: with the four files; by default that of Debian's package, fetched with `apt`.
    Returns: the data set's own folder, `wordnet@<revision>`, which the other functions read.
    Raises: FileNotFoundError for a missing file; ValueError that names a line that is no synset, or for too few.
    """
    folder = apt.package("wordnet-base", "usr/share/wordnet") if folder is None else Path(folder)
    contents = {name: _content(folder / name) for name in FILES}
    ready = Path(out) / prepared.folder_name(DESCRIBED, contents.items())
    if ready.is_dir():
        progress.say(f"{ready.name}: already prepared")
        return ready
    found = [synset for name in FILES for synset in _synsets(folder / name, contents[name])]
    splits = prepared.parted(DESCRIBED, found, lambda synset: synset.id)
    tally = {
        "synsets": len(found),
        "lemmas": sum(len(each.lemmas) for each in found),
        "examples": sum(len(each.examples) for each in found),
    }
    tally |= {f"synsets to {split}": len(splits[split]) for split in SPLITS}
    prepared.write(DESCRIBED, ready, splits, tally)
    return ready


def synsets(folder: Path | str, split: str, first: int | None = None) -> list[Synset]:
    """The synsets of `train`, `validation` or `test` of what `prepare` returned.

    Args:
      first: only so many, a fair sample, which is quicker; by default all.
    Raises: ValueError for another split, or more than there are; FileNotFoundError for a folder that is no such data.
    """
    return prepared.rows(DESCRIBED, folder, split, first)


def counts(folder: Path | str) -> dict[str, int]:
    """What the data set was made of, as `prepare` reported it."""
    return prepared.counts(DESCRIBED, folder)


def split_of(synset: str) -> str:
    """The split of a synset, by a hash of its id: 80% are `train`, 10% `validation` and 10% `test`."""
    return prepared.split_of(DESCRIBED, synset)


def read_line(line: str) -> Synset:
    """One line of a data file.

    >>> read_line('00014358 00 s 01 galore(ip) 0 001 & 00013887 a 0000 | existing; "whiskey galore"')
    Synset(id='a00014358', part='a', lemmas=('galore',), definition='existing', examples=('whiskey galore',))

    Examples are what is quoted from the first quotation mark on that stands behind `;`, `:` or `,`; who is quoted, and
    a quotation that never ends, are left out.

    Raises: ValueError for anything else.
    Source: wndb(5WN), "Data File Format".
    """
    found = SYNSET.fullmatch(line.rstrip())
    if found is None:
        raise ValueError("wanted a synset of WordNet, as '00001740 03 n 01 entity 0 ... | gloss'")
    place, kind, count, rest, gloss = found.groups()
    words = rest.split(" ")[: 2 * int(count, 16) : 2]
    lemmas = tuple(re.sub(r"\((?:a|p|ip)\)$", "", word).replace("_", " ") for word in words)
    told, quoted = (*OPENING.split(gloss, maxsplit=1), "")[:2]
    definition = told.strip(" ;")
    if not lemmas or len(lemmas) < int(count, 16) or not all(lemmas) or not definition:
        raise ValueError(f"wanted {int(count, 16)} words and a definition, got {list(lemmas)} and {definition!r}")
    part = "a" if kind == "s" else kind
    examples = tuple(example.strip() for example in QUOTED.findall(quoted) if example.strip())
    return Synset(part + place, part, lemmas, definition, examples)


def _synsets(file: Path, content: bytes) -> Iterator[Synset]:
    for number, line in enumerate(content.decode("ascii").splitlines(), 1):
        if line.startswith("  "):  # the licence
            continue
        try:
            yield read_line(line)
        except ValueError as error:
            raise ValueError(f"{file}, line {number}: {error}, got {line[:60]!r}") from error


def _content(file: Path) -> bytes:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such file; WordNet has {', '.join(FILES)}")
    content = file.read_bytes()
    if not content.isascii():
        raise ValueError(f"{file}: wanted ASCII, as WordNet is")
    return content
