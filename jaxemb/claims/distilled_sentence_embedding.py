"""Distilled sentence embedding: do scores carry a cross-encoder into a siamese student, and how much faster is it?"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxemb import encode, losses, model, progress, train
from jaxemb.claims.claim import Claim, Margin, Where
from jaxemb.claims.debian_index import debian_in
from jaxemb.claims.related_packages import related
from jaxemb.claims.rows import row
from jaxemb.data import Remembered
from jaxemb.data.judged import Judged, taught
from jaxemb.data.tokenize import Tokenizer, pad
from jaxemb.data.words import word_tokenizer
from jaxemb.evaluate.sts import cosines, spearman
from jaxemb.harness.record import Record
from jaxemb.model.cross import CrossModel, CrossSpec, make_cross
from jaxemb.model.cross_training import teach_cross
from jaxemb.recipes import distilled_sentence_embedding as recipe
from jaxemb.train import Plan
from jaxemb.types import Batch, Embedder, Tokens

SHAPE = encode.BertConfig(
    vocab_size=6000,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    max_position_embeddings=48,
    hidden_act="relu",  # quicker than GELU on CPUs by a third of a step
    initializer_range=0.1,
)
CLASSIFIER = encode.Classifier(labels=("relatedness",), dense="pooler.dense", out="classifier", pooling="mean")
PACKAGES, PAIRS, LABELLED, TEST = 6000, 12_000, 1500, 2000
SIDE, JOINED = 22, 43  # twenty words a text, and the tokens around one text and around two
TEACHER_STEPS, TEACHER_RATE, BATCH = 800, 3e-3, 64
CONFIG = recipe.Config(layers=1, hidden=64, tokens=SIDE, steps=400, batch_size=BATCH, learning_rate=1e-3)
TEACHER, MINILM = "cross-encoder teacher", "MiniLM cosine, not trained on these pairs"
FEW, FEW_TAUGHT = "1,500 labels", "1,500 labels and the teacher's scores of all pairs"
ALL, ALL_TAUGHT = "all labels", "all labels and the teacher's scores"
METRIC, WARM = "spearman", "times as fast as the teacher, warm, 2000 candidates"
CANDIDATES, REPEATS = (1, 100, 2000, 10_000), 3
SPEED = 2000


T = TypeVar("T", CrossModel, Embedder)


class Data(NamedTuple):
    """Pairs of the training and of the test packages, the tokenizer of the first, and where they are from.

    single: the same tokenizer as the student reads its texts with, of which it keeps the ids.
    """

    revision: str
    train: Sequence[Judged]
    test: Sequence[Judged]
    tokenizer: Tokenizer
    single: Tokenizer


def opened(where: Where, split: str = "test") -> Data:
    """Pairs of packages; those of `split`, which may be `validation`, are measured on."""
    index = debian_in(where.data)
    pairs = related(index, "train", PACKAGES, PAIRS, seed=0)
    test = related(index, split, None, TEST, seed=1)  # seed 0 was looked at while the teacher's steps were chosen
    words = word_tokenizer((text for pair in pairs for text in (pair.first, pair.second)), SHAPE.vocab_size)
    return Data(index.name, pairs, test, words, Remembered(words.limited(SIDE, add_special=True)))


def measure(where: Where) -> Iterator[Record]:
    """Spearman's correlation with the tags' agreement for teacher and students; then how fast both score."""
    data = opened(where)
    task = f"{data.revision}/test[{TEST}]"
    found: dict[str, list[float]] = {}
    for seed in range(where.seeds):
        teacher = trained_teacher(data, seed)
        reached = {TEACHER: right(data.test, model.logits(teacher, texts(data.test))[:, 0])}
        pairs = taught(data.train, recipe.scores(teacher, data.train, what=None))
        made = student()
        for name, (cfg, some) in rows(pairs, seed).items():
            params = made.init(jax.random.key(seed))
            learnt = one_device(recipe.run(cfg, made, params, some, data.single, seed=seed))
            reached[name] = right(data.test, scored(made, learnt, data))
        for name, value in reached.items():
            found.setdefault(name, []).append(value)
        progress.say(f"seed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in reached.items()))
    for name, values in found.items():
        yield row(name, settings(name), task, METRIC, values)
    yield row(MINILM, {}, task, METRIC, [right(data.test, minilm(data.test, where))], each="once")
    yield from timed(teacher, made, learnt, data)


def right(pairs: Sequence[Judged], scores: Float[np.ndarray, " n"]) -> float:
    """How far scores go with the labels."""
    return spearman(scores, np.array([pair.label for pair in pairs]))


def texts(pairs: Sequence[Judged]) -> list[tuple[str, str]]:
    """Both texts of every pair."""
    return [(pair.first, pair.second) for pair in pairs]


def rows(pairs: Sequence[Judged], seed: int) -> Mapping[str, tuple[recipe.Config, Sequence[Judged]]]:
    """The students, by the names of their rows, and what each learns from."""
    chosen = np.random.default_rng(seed).permutation(len(pairs))[:LABELLED]
    known = set(chosen.tolist())
    unlabelled = [pair if place in known else pair._replace(label=None) for place, pair in enumerate(pairs)]
    plain, both = replace(CONFIG, alpha=0.0), replace(CONFIG, alpha=0.5)
    return {
        FEW: (plain, [pairs[place] for place in chosen]),
        FEW_TAUGHT: (both, unlabelled),
        ALL: (plain, pairs),
        ALL_TAUGHT: (both, pairs),
    }


def settings(name: str) -> dict[str, Any]:
    """The config of a row as run."""
    if name == TEACHER:
        return {"encoder": asdict(SHAPE), "steps": TEACHER_STEPS, "learning_rate": TEACHER_RATE, "batch_size": BATCH}
    alpha = 0.5 if name in (FEW_TAUGHT, ALL_TAUGHT) else 0.0
    return {**asdict(replace(CONFIG, alpha=alpha)), "encoder": asdict(SHAPE), "labels": name}


def student() -> recipe.Student:
    """A siamese encoder of the teacher's size."""
    return recipe.student(CONFIG, encode.bert(SHAPE), SHAPE.hidden_size)


def trained_teacher(data: Data, seed: int) -> CrossModel:
    """A cross-encoder that learnt all labels from nothing."""
    spec = CrossSpec(backbone=SHAPE, classifier=CLASSIFIER, max_length=JOINED, activation="Identity", segments=True)
    cross = make_cross(spec, {}, data.tokenizer)
    rate = train.warmup_cosine(TEACHER_RATE, TEACHER_STEPS)
    learnt = teach_cross(
        cross._replace(params=cross.encoder.init(jax.random.key(100 + seed))),
        data.train,
        optax.adamw(rate, weight_decay=CONFIG.weight_decay, mask=train.decayed),
        steps=TEACHER_STEPS,
        batch_size=BATCH,
        seed=seed,
        what=f"teacher {seed}",
    )
    return one_device(learnt)


def one_device(made: T) -> T:
    """With params on one device alone, which reads texts and is timed."""
    return made._replace(params=jax.tree.map(jnp.asarray, jax.device_get(made.params)))


def tokens(data: Data, some: Sequence[str]) -> Tokens:
    """Texts as the student reads them."""
    return pad(data.single.ids(some).rows, SIDE)


def scored(made: recipe.Student, learnt: Embedder, data: Data) -> Float[np.ndarray, " n"]:
    """The student's score of every test pair."""
    first, second = (
        jax.jit(learnt.query)(learnt.params, tokens(data, [getattr(pair, side) for pair in data.test]))
        for side in ("first", "second")
    )
    return np.asarray(jax.jit(made.head.apply)(learnt.params["head"], first, second))[:, 0]


def minilm(pairs: Sequence[Judged], where: Where) -> Float[np.ndarray, " n"]:
    """The cosine of both texts by the packaged model."""
    distinct = sorted({text for pair in texts(pairs) for text in pair})  # packages stand in several pairs
    reader = model.load(model.demo_folder())
    vectors = model.kept_vectors(reader, distinct, where.data / "texts", what="MiniLM")
    place = {text: row for row, text in enumerate(distinct)}
    first, second = (vectors[[place[text] for text in side]] for side in zip(*texts(pairs), strict=True))
    return cosines(first, second)


def timed(teacher: CrossModel, made: recipe.Student, learnt: Embedder, data: Data) -> Iterator[Record]:
    """Pairs a second of one query with its candidates: of tokens that are ready, on the device that computes."""
    encoded, store, against = (jax.jit(part) for part in (learnt.query, made.head.store, made.head.against))
    read = jax.jit(teacher.encoder.apply)
    query, *others = (text for pair in data.train for text in (pair.first, pair.second))
    asked, head = tokens(data, [query]), learnt.params["head"]
    for count in CANDIDATES:
        some = others[:count]
        documents = tokens(data, some)
        stored = store(head, encoded(learnt.params, documents))
        ids = teacher.tokenizer.pairs([(query, text) for text in some])
        joined = pad(ids.rows, JOINED, ids.segments)

        def cold(documents: Tokens = documents) -> Array:
            return against(head, encoded(learnt.params, asked), store(head, encoded(learnt.params, documents)))

        def warm(stored: Any = stored) -> Array:
            return against(head, encoded(learnt.params, asked), stored)

        def crossed(joined: Tokens = joined) -> Array:
            return read(teacher.params, joined)

        seconds = {name: repeated(run) for name, run in (("warm", warm), ("cold", cold), ("teacher", crossed))}
        task = f"{data.revision}/train[{count}]"
        for name, rest in (("student, warm", "warm"), ("student, cold", "cold"), (TEACHER, "teacher")):
            yield row(name, {}, task, f"pairs/s of {count}", [count / one for one in seconds[rest]], each="repeat")
        if count == SPEED:
            ratio = [one / other for one, other in zip(seconds["teacher"], seconds["warm"], strict=True)]
            yield row("student, warm", {}, task, WARM, ratio, each="repeat")


def repeated(run: Callable[[], Array]) -> list[float]:
    """Seconds of each of some runs, the first left out."""
    run().block_until_ready()
    found = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run().block_until_ready()
        found.append(time.perf_counter() - start)
    return found


def plan() -> dict[str, Plan]:
    """The paper's steps: BERT-large, 128 tokens a text for the student, 128 a pair for the teacher."""
    shape = encode.BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)
    cfg, rows = recipe.Config(), 16
    backbone = encode.bert(shape, dtype=jnp.bfloat16)
    made = recipe.student(cfg, backbone, shape.hidden_size)
    head = encode.read_classifier({"model_type": "bert", "id2label": {"0": "related"}})
    cross = encode.classified(backbone, head, shape.hidden_size, dtype=jnp.bfloat16)
    key = jax.random.key(0)
    taught_cross = train.cross_encoded(cross, losses.logit_regression)
    return {
        "student, BERT-large, 16 pairs of 2 x 128 tokens": train.planned(
            recipe.objective(cfg, made), recipe.optimizer(cfg), jax.eval_shape(made.init, key), shapes(rows, cfg.tokens)
        ),
        "teacher, BERT-large, 16 pairs of 128 tokens": train.planned(
            taught_cross,
            recipe.optimizer(cfg),
            jax.eval_shape(cross.init, key),
            {"pair": joined_shape(rows, 128), "label": jax.ShapeDtypeStruct((rows,), jnp.float32)},
        ),
    }


def shapes(rows: int, length: int) -> Batch:
    """Of a batch of the student's."""
    ids: Any = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    number, teacher = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((rows,), (rows, 1)))
    text = Tokens(ids, ids)
    return {"query": text, "document": text, "label": number, "weight": number, "teacher": teacher}


def joined_shape(rows: int, length: int) -> Tokens:
    """Of a batch of joined texts."""
    ids: Any = jax.ShapeDtypeStruct((rows, length), jnp.int32)
    return Tokens(ids, ids, ids)


CLAIM = Claim(
    paper="Scalable Attentive Sentence-Pair Modeling via Distilled Sentence Embedding (arXiv:1908.05161)",
    says="A siamese encoder with a small head can give the scores of a cross-encoder, which take far longer.",
    published="4.6 % below BERT on average over five pair tasks of GLUE, and orders of magnitude faster to score a "
    "query's candidates (abstract); figures of single tasks are not confirmed here.",
    scale="12,000 pairs of 6,000 Debian packages, their tags' Jaccard index as the label; 2,000 pairs of packages of "
    "other sources to test; teacher and student of 2 layers of 64 dimensions, 800 and 400 steps of 64 pairs",
    differs="the teacher is as small as the student and begins from nothing, so that it need not be better than a "
    "student with all labels; regression for GLUE's tasks; the teacher's steps were chosen after another draw of pairs "
    "from the same test packages had been looked at for one seed, its rate by validation",
    minutes=5,
    margins=(
        Margin(METRIC, FEW_TAUGHT, over=FEW, every=0.05),
        Margin(METRIC, TEACHER, over=FEW, least=0.08),
        Margin(METRIC, ALL_TAUGHT, over=ALL, least=-0.03),
        Margin(WARM, "student, warm", least=20),
    ),
    measure=measure,
    plan=plan,
    legend={
        TEACHER: "both texts in one input, trained on all 12,000 labels",
        FEW: "a siamese student of 1,500 labelled pairs",
        FEW_TAUGHT: "the same labels, and what the teacher gives all 12,000 pairs; half of the loss each",
        ALL: "the student with all labels and no teacher",
        MINILM: "the packaged sentence encoder as it is",
        "student, warm": "vectors of the candidates are there already",
        "student, cold": "candidates are encoded, too",
    },
    devices=2,
)
