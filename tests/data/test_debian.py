import gzip
import itertools
import lzma
import re

import numpy as np
import pytest

from jaxemb.data import Pair, apt, debian


def source_in(split, start):
    return next(name for name in (f"{start}{number}" for number in itertools.count()) if debian.split_of(name) == split)


TRAIN, VALIDATION, TEST = source_in("train", "t"), source_in("validation", "v"), source_in("test", "e")
SHARED = "a tool that counts the birds of a garden and draws them on a map of the town"


def package(name, source="", md5="", more=""):
    return f"Package: {name}\n{source and f'Source: {source}{chr(10)}'}Description-md5: {md5 or name}\n{more}"


PACKAGES = "\n\n".join(
    [
        # Copies of one long description stay once, whatever the order of the file.
        package("zoo", TRAIN),
        package(
            "ant",
            f"{TRAIN} (1.2-3)",
            more="Tag: role::program, works-with::{audio,\n video},\n use::chatting\nSection: net\nVersion: 2:1.0\n",
        ),
        package("bee", TRAIN, md5="ant-text", more="Section: sound"),
        package(VALIDATION, more="Section: doc\nTag: role::program"),
        package("owl", TEST, more="Section: games"),
        package("owl-copy", TEST),
        package("ant", TRAIN, md5="owl"),
        package("none", TRAIN, md5="nowhere"),
        package("brief", TRAIN),
    ]
)
DESCRIPTIONS = {
    "zoo": "Zoo in  a box\n Says what\n it is.\n .\n Second\n  * part",
    "ant": f"Ant counter\n {SHARED.replace('the birds', 'the ants')}",
    "ant-text": "Bee text\n Says what it is.\n .\n Second * part",
    VALIDATION: "Short one\n Something else",
    "owl": "Owl finder\n It finds owls at night.",
    "owl-copy": f"Another counter\n {SHARED.replace('the birds', 'the ants')} now",
    "brief": "Nothing more",
}
TRANSLATION = "\n\n".join(
    f"Package: some\nDescription-md5: {md5}\nDescription-en: {text}" for md5, text in DESCRIPTIONS.items()
)


@pytest.fixture
def index(tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index" / "Packages").write_text(PACKAGES)
    (tmp_path / "index" / "Translation-en").write_text(TRANSLATION + "\n\n")
    return tmp_path / "index"


def test_by_hand(index, tmp_path, capfd):
    ready = debian.prepare(tmp_path / "data", index)
    assert re.fullmatch(r"debian@[0-9a-f]{12}", ready.name)
    bee = debian.Package("bee", TRAIN, "sound", "Bee text", "Says what it is.\n\nSecond * part", ())
    ant = debian.Package(
        "ant",
        TRAIN,
        "net",
        "Ant counter",
        SHARED.replace("the birds", "the ants"),
        ("role::program", "works-with::audio", "works-with::video", "use::chatting"),
    )
    assert debian.packages(ready, "train") == [ant, bee]
    assert debian.packages(ready, "train", first=1) == [ant]
    assert [each.name for each in debian.packages(ready, "validation")] == [VALIDATION]
    assert debian.packages(ready, "validation")[0].source == VALIDATION
    assert list(debian.pairs(ready, "test")) == [Pair("Owl finder", "It finds owls at night.")]
    assert debian.counts(ready) == {
        "packages in the index": 9,
        "of the name of another": 1,
        "without a long description": 2,
        "with the long description of another": 1,
        "nearly the long description of one in another split": 1,
        "packages": 4,
        "sources": 3,
        "packages with tags": 2,
        "packages to train": 2,
        "packages to validation": 1,
        "packages to test": 1,
    }
    task = debian.task(ready, "train")
    assert (task.name, task.split, task.document_ids) == (ready.name, "train", ["ant", "bee"])
    assert (task.queries, task.documents) == (["Ant counter", "Bee text"], [ant.long, bee.long])
    assert task.judgements == {"ant": {"ant": 1}, "bee": {"bee": 1}}
    capfd.readouterr()
    assert debian.prepare(tmp_path / "data", index) == ready
    assert capfd.readouterr().err == f"{ready.name}: already prepared\n"

    # The revision is of what the files say, not of how they are packed.
    for file, packed in (("Packages", lzma.compress), ("Translation-en", gzip.compress)):
        content = (index / file).read_bytes()
        (index / file).unlink()
        (index / (file + {lzma.compress: ".xz", gzip.compress: ".gz"}[packed])).write_bytes(packed(content))
    assert debian.prepare(tmp_path / "data", index) == ready
    (index / "Packages").write_text(PACKAGES.replace("Section: net", "Section: web"))
    assert debian.prepare(tmp_path / "data", index).name != ready.name


def test_links_are_names_without_versions(tmp_path):
    fields = "Recommends: ant (>= 1.2), bee:any | owl\nSuggests: zoo,\n brief\nDepends: none\n"
    text = PACKAGES + "\n\n" + package("wren", more=fields)
    (tmp_path / "Packages.gz").write_bytes(gzip.compress(text.encode()))
    found = debian.links(tmp_path)
    assert found["wren"] == {"ant", "bee", "owl", "zoo", "brief"}
    assert found["zoo"] == frozenset()
    assert debian.links(tmp_path, ["Depends"])["wren"] == {"none"}
    with pytest.raises(FileNotFoundError, match="no Packages, plain or"):
        debian.links(tmp_path / "nowhere")


def test_a_prefix_is_a_sample_with_its_siblings():
    many = [debian.Package(f"p{number}", f"s{number % 50}", "", "short", f"text {number}", ()) for number in range(200)]
    order = [each.source for each in debian.prepared.parted(debian.DESCRIBED, many, lambda each: each.source)["train"]]
    runs = [name for name, _ in itertools.groupby(order)]
    assert len(runs) == len(set(runs))
    assert runs != sorted(runs)


def test_a_split_is_of_the_sources_name():
    shares = [sum(debian.split_of(f"s{n}") == split for n in range(3000)) / 3000 for split in debian.SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    # Fixed as long as the version is: these move only with a new revision.
    assert [debian.split_of(name) for name in ("numpy", "vim", "gcc-12", "0ad")] == [
        "validation",
        "train",
        "train",
        "validation",
    ]


def tagged(*tags):
    return debian.Package("name", "source", "net", "short", "long", tags)


def test_concepts_are_the_tags_of_many():
    some = [tagged("role::program", "x::b"), tagged("role::program", "x::b", "x::a"), tagged("x::a"), tagged("y::c")]
    assert debian.concepts(some, min_count=2) == ["role::program", "x::a", "x::b"]
    names = debian.concepts(some, min_count=2, without=["role"])
    assert names == ["x::a", "x::b"]
    np.testing.assert_array_equal(debian.labels(some, names), [[0, 1], [1, 1], [1, 0], [0, 0]])


def test_bad_concepts_are_named():
    some = [tagged("role::program"), tagged()]
    with pytest.raises(ValueError, match=r"no tag of 1 is used 2 times; the most used is \[\('role::program', 1\)\]"):
        debian.concepts(some, min_count=2)
    with pytest.raises(ValueError, match=r"wanted facets of \['role'\], got \['rôle'\]"):
        debian.concepts(some, min_count=1, without=["rôle"])
    with pytest.raises(ValueError, match=r"different concepts, one or more, got 0"):
        debian.labels(some, [])
    with pytest.raises(ValueError, match=r"twice \['x::a'\]"):
        debian.labels(some, ["x::a", "x::a", "x::b"])


@pytest.mark.parametrize(
    ("packages", "told"),
    [
        ("", "Packages: wanted fields as 'Package: some', got ''"),
        ("Package: a\nno field", "Packages: wanted fields as 'Package: some', got 'no field'"),
        ("Source: a", "Packages: a stanza without a Package: 'Source: a'"),
        ("Package: a\nTag: role", "Packages, a: wanted tags as role::program, got 'role'"),
        ("Package: a\nTag: x::{b", "Packages, a: wanted tags as role::program, got 'x::{b'"),
        (package("zoo", TRAIN), "no row for validation and test among 1; it needs a larger source"),
    ],
)
def test_a_bad_index_is_named(index, tmp_path, packages, told):
    (index / "Packages").write_text(packages)
    with pytest.raises(ValueError, match=re.escape(told)):
        debian.prepare(tmp_path / "data", index)
    assert not list((tmp_path / "data").glob("*"))


def test_a_bad_file_is_named(index, tmp_path):
    (index / "Translation-en").write_bytes(b"Package: a\nDescription-md5: \xff\n")
    with pytest.raises(ValueError, match=r"index: Translation-en is no UTF-8 text"):
        debian.prepare(tmp_path / "data", index)
    (index / "Translation-en").write_text("Package: a\nDescription-md5: b\nDescription-de: kurz\n lang\n")
    with pytest.raises(ValueError, match=r"Translation-en, a: no Description-md5 or no Description-en"):
        debian.prepare(tmp_path / "data", index)
    (index / "Translation-en").unlink()
    with pytest.raises(FileNotFoundError, match=r"index: no Translation-en, plain or \.gz or \.xz"):
        debian.prepare(tmp_path / "data", index)
    for ending, packed in ((".xz", lzma.compress), (".gz", gzip.compress)):
        (index / f"Translation-en{ending}").write_bytes(packed(TRANSLATION.encode())[:-12])
        with pytest.raises(ValueError, match=rf"Translation-en\{ending}: broken or cut short"):
            debian.prepare(tmp_path / "data", index)
        (index / f"Translation-en{ending}").unlink()


def test_reading_what_is_not_there(index, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no prepared debian data set, as debian\.prepare makes it"):
        debian.packages(tmp_path, "test")
    ready = debian.prepare(tmp_path / "data", index)
    with pytest.raises(ValueError, match="wanted a split of train, validation, test, got 'dev'"):
        debian.task(ready, "dev")
    with pytest.raises(ValueError, match="debian, train: wanted 1 to 2 rows, got 3"):
        debian.packages(ready, "train", first=3)


@pytest.mark.grid
def test_the_real_index(tmp_path):
    try:
        folder = apt.index()
    except (FileNotFoundError, ValueError, RuntimeError) as error:
        pytest.skip(f"no index here: {error}")
    ready = debian.prepare(tmp_path, folder)
    counts = debian.counts(ready)
    assert counts["packages"] > 50_000
    assert counts["packages with tags"] > 20_000
    rows = {split: debian.packages(ready, split) for split in debian.SPLITS}
    longs = [each.long for packages in rows.values() for each in packages]
    assert len(set(longs)) == len(longs)
    sources = [{each.source for each in packages} for packages in rows.values()]
    assert not sources[0] & sources[1] | sources[0] & sources[2] | sources[1] & sources[2]
    assert len(debian.concepts(rows["train"])) > 100
