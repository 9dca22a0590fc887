"""Real texts of many lengths: functions and docstrings of the task `python-code`, descriptions of Debian's packages."""

import hashlib
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxemb import progress
from jaxemb.data import python_code

APT = "apt-get -o Acquire::Languages=en update"


class Workload(NamedTuple):
    """What is encoded.

    task: name and revision, which changes with the texts.
    corpus: long and short texts, to be encoded at once.
    queries: to be encoded one by one.
    """

    task: str
    corpus: list[str]
    queries: list[str]


def descriptions(lists: str = "/var/lib/apt/lists") -> list[str]:
    """The distinct long English descriptions of Debian's packages, as apt keeps them; none where it keeps none."""
    helper = "/usr/lib/apt/apt-helper"  # the lists are compressed
    files = sorted(map(str, Path(lists).glob("*Translation-en*")))
    if not files or not Path(helper).is_file():
        progress.say(f"no descriptions of Debian's packages here ({APT} brings them): python-code alone is encoded")
        return []
    read = subprocess.run([helper, "cat-file", *files], capture_output=True, check=True).stdout.decode()
    return described(read)


def described(translations: str) -> list[str]:
    """The long descriptions in files of translations, each once, in the order of the file.

    >>> described("Package: a\\nDescription-en: short\\n long one\\n .\\n ends\\n\\nPackage: b\\n")
    ['long one\\n\\nends']
    """
    bodies = re.findall(r"^Description-en: .*\n((?: .*\n)+)", translations, re.MULTILINE)
    texts = ("\n".join("" if line == " ." else line[1:] for line in body.splitlines()) for body in bodies)
    return list(dict.fromkeys(texts))


def workload(folder: Path, *, texts: int, queries: int, lists: str, seed: int = 0) -> Workload:
    """Half functions, half descriptions, drawn at random and mixed; and docstrings, drawn at random.

    Args:
      folder: where `python-code` is, or will be prepared.
    """
    task = python_code.task(python_code.prepare(folder), "test")
    chance = np.random.default_rng(seed)

    def drawn(among: Sequence[str], n: int) -> list[str]:
        if len(among) < n:
            raise ValueError(f"wanted {n} texts, there are {len(among)}")
        return [among[i] for i in chance.choice(len(among), n, replace=False)]

    others = descriptions(lists)
    corpus = drawn(task.documents, texts - texts // 2 if others else texts) + drawn(others, texts // 2 if others else 0)
    asked = drawn(task.queries, queries)
    revision = hashlib.sha256("\0".join([*corpus, *asked]).encode()).hexdigest()[:12]
    name = f"mixed-{task.name.partition('@')[0]}-debian" if others else task.name.partition("@")[0]
    return Workload(f"{name}@{revision}", [corpus[i] for i in chance.permutation(len(corpus))], asked)
