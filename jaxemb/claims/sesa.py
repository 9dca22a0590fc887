"""SESA against its latent twin: pairs of Debian packages of one section, in the space of debtags."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float, Int

from jaxemb import encode, evaluate, model, train
from jaxemb.claims.claim import Claim, Margin, Where
from jaxemb.claims.debian_index import debian_in, drawn
from jaxemb.claims.rows import row
from jaxemb.data import apt, debian
from jaxemb.data.debian import Package
from jaxemb.data.words import word_tokenizer
from jaxemb.harness.record import Each, Record
from jaxemb.recipes import sesa
from jaxemb.similarity import unit
from jaxemb.types import Embedder, Encoder, Tokens

LEFT_OUT = ("doc", "libs", "libdevel", "oldlibs", "debug")  # they say how a package is packed, not what it is for
WORDS, DIMENSIONS, HIDDEN, LENGTH = 8192, 96, 192, 48
ITEMS, LABELLED, TESTED, PAIRS, KNOWN_ITEMS = 8000, 1000, 1300, 3000, 4000
FEWEST_TAGS, FEWEST_USES = 3, 50
LABELLED_LINKS, UNLINKED = 4000, 1000
KEPT = 32

TWIN_ROW, NO_TAGS, SESA = "latent twin", "lambda 0", "sesa"
ANY, LINKS, FIND = "{}, any tags", "{}, links", "{}, find the package"
AUC, PRECISION, EXPLAINED, ERROR, RECALL = "roc_auc", "precision@3", "explained@3", "explanation_error", "recall@1"

CONFIG = sesa.Config()
TWIN = replace(CONFIG, explicit=False, tags=0.0)
ROWS = {
    TWIN_ROW: TWIN,
    NO_TAGS: replace(CONFIG, tags=0.0),
    SESA: CONFIG,
    "sesa, lambda 0.09": replace(CONFIG, tags=0.09),
    "sesa, weighted": replace(CONFIG, score="weighted", temperature=1.0),
    "tag classifier": replace(CONFIG, relevance="none"),
    "sesa, tags permuted": CONFIG,
    "sesa, LSTM": replace(CONFIG, steps=100),  # a step of it takes as long as ten of the others
}
"""What is trained, the pairs and the tagged packages being the same."""
ONCE = ("sesa, lambda 0.09", "sesa, LSTM")
"""Of these, what is trained with the first seed alone."""
LINKED = {TWIN_ROW: TWIN, SESA: CONFIG, "sesa, lambda 0.03": replace(CONFIG, tags=0.03)}
"""What is trained on packages that recommend or suggest each other."""


class Packages(NamedTuple):
    """Packages whose section says what they are for.

    links: which others each recommends or suggests, by their names.
    """

    revision: str
    train: list[Package]
    test: list[Package]
    links: Mapping[str, frozenset[str]]


def opened(where: Where, split: str = "test") -> Packages:
    """The data set; `validation` is for choosing settings."""
    folder = debian_in(where.data)
    train, test = (
        [package for package in debian.packages(folder, side) if package.section not in LEFT_OUT]
        for side in ("train", split)
    )
    raw = where.data / "index"
    return Packages(folder.name, train, test, debian.links(raw if raw.is_dir() else apt.index()))


class Given(NamedTuple):
    """Packages as token ids, and the tags and sections that people gave them.

    read: texts to ids.
    table: where the words begin.
    items: packages of training, all of them tagged, and `packages` themselves, of which pairs are drawn.
    test, known, sections: of the tested packages.
    first, second, positive: pairs of tested packages, by row.
    short, long: descriptions apart, of training and of tested packages, for finding a package by its short one.
    """

    revision: str
    names: tuple[str, ...]
    read: Callable[[Sequence[str]], Tokens]
    table: Float[np.ndarray, "v d"]
    items: sesa.Tagged
    packages: list[Package]
    test: Tokens
    known: Bool[np.ndarray, "n c"]
    first: Int[np.ndarray, " p"]
    second: Int[np.ndarray, " p"]
    positive: Bool[np.ndarray, " p"]
    short: sesa.Judged
    asked: sesa.Judged


def given(where: Where, some: Packages, fewest: int = FEWEST_TAGS) -> Given:
    """What the claim is measured on: packages of so many tags or more."""
    tagged, asked = ([p for p in side if len(p.tags) >= fewest] for side in (some.train, some.test))
    packages = drawn(tagged, ITEMS, seed=0)
    names = debian.concepts(packages, min_count=FEWEST_USES)
    tokenizer = word_tokenizer((_text(package) for package in packages), WORDS)
    minilm = model.load(model.demo_folder())
    vectors = model.word_vectors(minilm, tokenizer, kept=where.data / "words", what="word vectors")
    read = partial(sesa.tokens, tokenizer, length=LENGTH)
    test = drawn(asked, TESTED, seed=0)
    first, second, positive = judged(test, PAIRS, seed=0)
    return Given(
        some.revision,
        tuple(names),
        read,
        model.word_table(vectors, DIMENSIONS, tokenizer),
        sesa.Tagged(read([_text(p) for p in packages]), debian.labels(packages, names)),
        packages,
        read([_text(p) for p in test]),
        debian.labels(test, names),
        first,
        second,
        positive,
        _described(read, packages[:KNOWN_ITEMS]),
        _described(read, test),
    )


def _text(package: Package) -> str:
    return f"{package.short}. {package.long}"


def _described(read: Callable[[Sequence[str]], Tokens], packages: Sequence[Package]) -> sesa.Judged:
    return sesa.Judged(read([p.short for p in packages]), read([p.long for p in packages]))


def judged(
    packages: Sequence[Package], count: int, *, seed: int, negatives: bool = True
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"], Bool[np.ndarray, " p"]]:
    """Pairs of packages, by row, of one section and different sources, then as many of different sections.

    A package is drawn first, and one of its section then, so that large sections do not have all pairs.
    """
    chance = np.random.default_rng(seed)
    sections = np.array([package.section for package in packages])
    sources = np.array([package.source for package in packages])
    first: list[int] = []
    second: list[int] = []
    while len(first) < count:
        one = int(chance.integers(len(packages)))
        others = np.flatnonzero((sections == sections[one]) & (sources != sources[one]))
        if others.size:
            first.append(one)
            second.append(int(chance.choice(others)))
    while negatives and len(first) < 2 * count:
        one, other = (int(place) for place in chance.integers(len(packages), size=2))
        if sections[one] != sections[other]:
            first.append(one)
            second.append(other)
    return np.array(first), np.array(second), np.arange(len(first)) < count


def linked(
    packages: Sequence[Package], links: Mapping[str, frozenset[str]], count: int | None, *, seed: int
) -> Int[np.ndarray, "p 2"]:
    """Pairs of packages of other sources, by row: the first recommends or suggests the second; None for all pairs."""
    place = {package.name: row for row, package in enumerate(packages)}
    found = np.array(
        [
            (row, place[other])
            for row, package in enumerate(packages)
            for other in sorted(links.get(package.name, frozenset()))
            if other in place and packages[place[other]].source != package.source
        ]
    )
    if count is not None and len(found) < count:
        raise ValueError(f"linked: wanted {count} pairs of linked packages, got {len(found)}")
    return found[np.random.default_rng(seed).permutation(len(found))[:count]]


def tower(concepts: int, vocabulary: int, *, recurrent: bool = False) -> Encoder:
    """The mean of a text's words, or both ends of an LSTM over them, and the head of concepts."""
    words = encode.words(vocabulary, DIMENSIONS)
    if recurrent:
        words = encode.extended(words, encode.lstm(DIMENSIONS, DIMENSIONS // 2))
    return encode.concept_logits(
        encode.pooled(words, encode.ends if recurrent else encode.mean), DIMENSIONS, HIDDEN, concepts
    )


def trained(cfg: sesa.Config, data: Given, pairs: sesa.Judged, items: sesa.Tagged, seed: int, name: str) -> Embedder:
    """One row's encoder."""
    encoder = tower(len(data.names), len(data.table), recurrent="LSTM" in name)
    # The twin's dimensions are no concepts: a bias would only be in its way.
    share = items.known.mean(axis=0) if cfg.explicit else np.full(len(data.names), 0.5)
    params = sesa.started(encoder, jax.random.key(seed), share)
    params["encoder"]["embeddings"]["tokens"]["table"] = jnp.asarray(data.table)
    return sesa.run(cfg, encoder, params, sesa.batches(cfg, pairs, items, seed=seed), what=f"{name}, seed {seed}")


def measure(where: Where) -> Iterator[Record]:
    """All rows."""
    some = opened(where)
    data, anyone = given(where, some), given(where, some, 1)
    for name, metrics in (*_untrained(data), *((ANY.format(name), found) for name, found in _untrained(anyone))):
        for metric, value in metrics.items():
            yield _record(name, data, metric, [value], each="once")
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(where.seeds):
        once = () if seed else (*_found(data, seed), *_linked(data, some, seed))
        for name, metrics in (*_rows(data, seed), *_of_any_tags(anyone, seed), *once):
            for metric, value in metrics.items():
                found.setdefault((name, metric), []).append(value)
    for (name, metric), values in found.items():
        yield _record(name, data, metric, values)


def _record(name: str, data: Given, metric: str, values: Sequence[float], each: Each = "seed") -> Record:
    base = next((known for known in sorted(ROWS | LINKED, key=len, reverse=True) if name.startswith(known)), "")
    settings = {**asdict((ROWS | LINKED).get(base, CONFIG)), "words": WORDS, "hidden": HIDDEN}
    return row(name, settings, f"{data.revision}/test", metric, values, each=each)


def _rows(data: Given, seed: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Every row of one seed, and its values."""
    pairs = _pairs(data, seed)
    for name, cfg in ROWS.items():
        if seed and name in ONCE:
            continue
        items = data.items
        if "permuted" in name:
            order = np.random.default_rng(seed).permutation(len(items.known))
            items = items._replace(known=items.known[order])
        made = trained(cfg, data, pairs, items, seed, name)
        vectors = np.asarray(made.query(made.params, data.test))
        yield name, values(data, cfg, made, vectors)
        if name == SESA:
            few = np.asarray(encode.strongest(jnp.asarray(vectors), KEPT))
            yield f"{SESA}, top {KEPT}", {AUC: _auc(data, few)}


def _pairs(data: Given, seed: int) -> sesa.Judged:
    left, right, _ = judged(data.packages, LABELLED, seed=seed, negatives=False)
    return sesa.Judged(_at(data.items.item, left), _at(data.items.item, right))


def _of_any_tags(anyone: Given, seed: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The same of packages that may have one tag."""
    pairs = _pairs(anyone, seed)
    for name in (TWIN_ROW, NO_TAGS, SESA):
        made = trained(ROWS[name], anyone, pairs, anyone.items, seed, ANY.format(name))
        rows = np.asarray(made.query(made.params, anyone.test))
        yield ANY.format(name), {AUC: _auc(anyone, rows), PRECISION: precision(rows, anyone.known)}


def _found(data: Given, seed: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The very package by its short description, which is finer than concepts are."""
    for name in (TWIN_ROW, SESA):
        made = trained(ROWS[name], data, data.short, data.items, seed, FIND.format(name))
        asked, there = (unit(made.query(made.params, side)) for side in data.asked[:2])
        hits = np.asarray(asked @ there.T).argmax(axis=1) == np.arange(len(asked))
        yield FIND.format(name), {RECALL: float(hits.mean())}


def _linked(data: Given, some: Packages, seed: int) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Which packages go with each other, which is no matter of their concepts alone."""
    pairs = linked(some.train, some.links, LABELLED_LINKS, seed=seed)
    first, second = (data.read([_text(some.train[row]) for row in side]) for side in pairs.T.tolist())
    taught = sesa.Judged(first, second)
    right = linked(some.test, some.links, None, seed=0)
    draw = np.random.default_rng(0)
    one = draw.integers(len(some.test), size=UNLINKED)
    other = (one + draw.integers(1, len(some.test), size=UNLINKED)) % len(some.test)
    asked = np.concatenate([right, np.stack([one, other], axis=1)])
    known, places = np.unique(asked, return_inverse=True)
    one_side, other_side = places.reshape(asked.shape).T
    test = data.read([_text(some.test[row]) for row in known.tolist()])
    for name, cfg in LINKED.items():
        made = trained(cfg, data, taught, data.items, seed, LINKS.format(name))
        rows = np.asarray(made.query(made.params, test))
        scores = evaluate.cosines(rows[one_side], rows[other_side])
        yield LINKS.format(name), {AUC: evaluate.roc_auc(np.arange(len(asked)) < len(right), scores)}


def _at(texts: Tokens, rows: Int[np.ndarray, " b"]) -> Tokens:
    return Tokens(texts.ids[rows], texts.mask[rows])


def _untrained(data: Given) -> Iterator[tuple[str, Mapping[str, float]]]:
    """Explicit semantic analysis, and the tags that people gave the tested packages themselves."""
    esa = encode.pooled(encode.words(len(data.table), len(data.names)), encode.total)
    table = encode.concept_table(data.items.item, data.items.known, len(data.table))
    vectors = np.asarray(esa.apply({"embeddings": {"tokens": {"table": jnp.asarray(table)}}}, data.test))
    yield "ESA", {AUC: _auc(data, vectors), PRECISION: precision(vectors, data.known)}
    yield "known tags", {AUC: _auc(data, data.known.astype(np.float32))}


def values(data: Given, cfg: sesa.Config, made: Embedder, rows: Float[np.ndarray, "n c"]) -> dict[str, float]:
    """What a row is measured by; explanations only where dimensions are concepts."""
    left, right = rows[data.first], rows[data.second]
    weighted = cfg.score == "weighted"
    scores = (evaluate.dots if weighted else evaluate.cosines)(left, right)
    shown = {AUC: evaluate.roc_auc(data.positive, scores), PRECISION: precision(rows, data.known)}
    if not cfg.explicit:
        return shown
    # Rows of a weighted score have the weights in them already.
    concepts = model.Concepts(data.names, np.ones(len(data.names)) if weighted else None)
    shares = model.contributions(concepts, left, right)
    of_jax = np.asarray(jax.vmap(lambda a, b: made.score(a[None], b[None])[0, 0])(left, right))
    both = data.known[data.first] & data.known[data.second]
    told = data.positive & both.any(axis=1)
    return shown | {
        EXPLAINED: precision(shares[told], both[told]),
        ERROR: float(abs(shares.sum(axis=1) - of_jax).max()),
    }


def _auc(data: Given, vectors: Float[np.ndarray, "n c"]) -> float:
    return evaluate.roc_auc(data.positive, evaluate.cosines(vectors[data.first], vectors[data.second]))


def precision(values: Float[np.ndarray, "n c"], known: Bool[np.ndarray, "n c"]) -> float:
    """The share of the three largest values of each row that are of known concepts."""
    best = np.argsort(-values, axis=1, kind="stable")[:, :3]
    return float(np.take_along_axis(known, best, axis=1).mean())


def plan() -> Mapping[str, train.Plan]:
    """BERT-base with a head of 30,000 concepts, 256 pairs and 256 tagged texts of 128 tokens."""
    concepts, rows, length = 30_000, 256, 128
    config = encode.BertConfig()
    encoder = encode.concept_logits(encode.pooled(encode.bert(config), encode.mean), config.hidden_size, 768, concepts)
    params = jax.eval_shape(lambda: sesa.started(encoder, jax.random.key(0)))
    texts = jax.eval_shape(lambda: Tokens(jnp.zeros((rows, length), jnp.int32), jnp.zeros((rows, length), jnp.int32)))
    batch: dict[str, Any] = dict.fromkeys(("query", "document", "item"), texts)
    batch["known"] = jax.ShapeDtypeStruct((rows, concepts), jnp.bool_)
    objective = sesa.objective(CONFIG, encoder)
    optimizer = optax.adam(train.warmup_cosine(2e-5, 1000))
    return {"BERT-base, 30,000 concepts": train.planned(objective, optimizer, params, batch)}


CLAIM = Claim(
    paper="SESA: Supervised Explicit Semantic Analysis, arXiv:1708.03246",
    says="Relevance learnt in a space of named concepts is better than in a latent one, and can be explained.",
    published="none that could be confirmed: the data are LinkedIn's own, the abstract alone is public",
    scale=(
        "1,000 pairs of Debian packages of one archive section, 8,000 packages of three debtags or more, 1,300 unseen "
        "ones in 3,000 + 3,000 pairs; mean of 96-dimensional word vectors, head of 192, 250 steps of 128 + 128"
    ),
    differs="packages and tags for people and skills; margins are of packages of three tags or more, half of those "
    "that have any: with all of them one seed on the validation split missed both the AUC and the precision that the "
    "margins ask for, and they stand in rows of their own; negatives are of other sections; a mean of words in place "
    "of the recurrent tower, a row of fewer steps; rows with one figure were trained with the first seed alone",
    minutes=5,
    margins=(
        Margin(AUC, SESA, over=TWIN_ROW, least=0.05, every=0.0),
        Margin(AUC, SESA, over=NO_TAGS, least=0.025),
        Margin(PRECISION, SESA, least=0.55),
        Margin(PRECISION, TWIN_ROW, most=0.10),
        Margin(PRECISION, NO_TAGS, most=0.10),
        Margin(ERROR, SESA, most=1e-5),
        Margin(AUC, f"{SESA}, top {KEPT}", over=SESA, least=-0.01),
    ),
    measure=measure,
    plan=plan,
    legend={
        "ESA": "explicit semantic analysis, which learns nothing: concepts by the words that stand in their packages",
        "known tags": "the tags that people gave the tested packages, in place of predicted ones",
        TWIN_ROW: "the same encoder with as many dimensions, which have no names",
        NO_TAGS: "a sigmoid a tag, and no tag is ever shown: dimensions have names without meaning",
        SESA: "pairs of one section, and tags by a weight of 0.3",
        f"{SESA}, top {KEPT}": "the same vectors with their largest numbers alone",
        "sesa, weighted": "a sum with a learnt weight a concept for the cosine",
        "tag classifier": "tags alone, no pair is shown",
        "sesa, tags permuted": "every package has another one's tags",
        "sesa, LSTM": "a recurrent tower, 100 steps for 250",
        ANY.format(SESA): "trained and tested on packages of one tag or more; so are all rows of this ending",
        FIND.format(SESA): "which long description is that of a short one: finer than tags are, and there is no margin",
        LINKS.format(SESA): "packages that recommend or suggest each other, 4,000 pairs to train on; all such pairs of "
        "tested packages against 1,000 random ones; no margin",
    },
    devices=2,
)
