import itertools
import re

import pytest

from jaxemb.data import apt, wordnet


def place_in(split, part):
    return next(f"{number:08d}" for number in itertools.count() if wordnet.split_of(f"{part}{number:08d}") == split)


NOUN, VERB, SATELLITE, ADVERB = (
    place_in("train", "n"),
    place_in("validation", "v"),
    place_in("test", "a"),
    place_in("train", "r"),
)
FILES = {
    "data.noun": f"  1 The licence  \n  2 of it  \n{NOUN} 03 n 01 physical_entity 0 001 @ 00001740 n 0000 | a thing\n",
    "data.verb": f'{VERB} 31 v 02 say 0 talk 1 000 01 + 02 00 | to speak; "he said"; "tell, me"- Who\n',
    "data.adj": f'{SATELLITE} 00 s 02 abounding 0 galore(ip) 0 000 | existing ("so"); here: "plenty  \n',
    "data.adv": f"{ADVERB} 02 r 0a " + " ".join(f"w{n} 0" for n in range(10)) + " 000 | in (a | b) ways;  \n",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dict").mkdir()
    for name, content in FILES.items():
        (tmp_path / "dict" / name).write_text(content)
    return tmp_path / "dict"


def test_by_hand(folder, tmp_path, capfd):
    ready = wordnet.prepare(tmp_path / "data", folder)
    assert re.fullmatch(r"wordnet@[0-9a-f]{12}", ready.name)
    train = {each.id: each for each in wordnet.synsets(ready, "train")}
    assert train == {
        f"n{NOUN}": wordnet.Synset(f"n{NOUN}", "n", ("physical entity",), "a thing", ()),
        f"r{ADVERB}": wordnet.Synset(f"r{ADVERB}", "r", tuple(f"w{n}" for n in range(10)), "in (a | b) ways", ()),
    }
    assert len(wordnet.synsets(ready, "train", first=1)) == 1
    assert wordnet.synsets(ready, "validation") == [
        wordnet.Synset(f"v{VERB}", "v", ("say", "talk"), "to speak", ("he said", "tell, me"))
    ]
    assert wordnet.synsets(ready, "test") == [
        wordnet.Synset(f"a{SATELLITE}", "a", ("abounding", "galore"), 'existing ("so"); here', ())
    ]
    assert wordnet.counts(ready) == {
        "synsets": 4,
        "lemmas": 15,
        "examples": 2,
        "synsets to train": 2,
        "synsets to validation": 1,
        "synsets to test": 1,
    }
    capfd.readouterr()
    assert wordnet.prepare(tmp_path / "data", folder) == ready
    assert capfd.readouterr().err == f"{ready.name}: already prepared\n"
    (folder / "data.noun").write_text(FILES["data.noun"].replace("a thing", "a being"))
    assert wordnet.prepare(tmp_path / "data", folder).name != ready.name


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("00001740 03 n 01 entity 0 003", "wanted a synset of WordNet"),
        ("1740 03 n 01 entity 0 000 | what is", "wanted a synset of WordNet"),
        ("00001740 03 x 01 entity 0 000 | what is", "wanted a synset of WordNet"),
        ("00001740 03 n 00 000 | what is", "wanted 0 words and a definition, got []"),
        ("00001740 03 n 03 entity 0 000 | what is", "wanted 3 words and a definition, got ['entity', '000']"),
        ("00001740 03 n 01 entity 0 000 |  ; ", "wanted 1 words and a definition, got ['entity'] and ''"),
        ('00001740 03 n 01 entity 0 000 | ; "just this"', "wanted 1 words and a definition, got ['entity'] and ''"),
        ("", "wanted a synset of WordNet"),
    ],
)
def test_a_line_of_something_else_is_named(folder, tmp_path, line, told):
    (folder / "data.noun").write_text(f"  1 The licence\n{line}\n")
    with pytest.raises(ValueError, match=rf"data\.noun, line 2: {re.escape(told)}"):
        wordnet.prepare(tmp_path / "data", folder)
    assert not list((tmp_path / "data").glob("*"))


def test_a_bad_file_is_named(folder, tmp_path):
    (folder / "data.adv").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"data\.adv: wanted ASCII"):
        wordnet.prepare(tmp_path / "data", folder)
    (folder / "data.adv").unlink()
    with pytest.raises(FileNotFoundError, match=r"data\.adv: no such file; WordNet has data\.noun, data\.verb"):
        wordnet.prepare(tmp_path / "data", folder)


@pytest.mark.grid
def test_the_real_files(tmp_path):
    try:
        folder = apt.package("wordnet-base", "usr/share/wordnet")
    except (FileNotFoundError, RuntimeError) as error:
        pytest.skip(f"no WordNet here: {error}")
    ready = wordnet.prepare(tmp_path, folder)
    counts = wordnet.counts(ready)
    assert (counts["synsets"], counts["lemmas"]) == (117_659, 206_978)
    assert counts["examples"] > 48_000
