"""The command `jaxemb`: thin doors to library functions.

Exit codes: 0 done, 1 a claim or check did not hold, 2 bad input.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import tyro
from rich.console import Console

if TYPE_CHECKING:
    from jaxemb.data import Pair, Task, Tokenizer
    from jaxemb.types import Batch, Loss

# Everything that loads JAX is imported where it is used: `jaxemb --help` answers at once.


class Command(Protocol):
    """What a subcommand is: its settings, and what it does."""

    def run(self) -> None:
        """Do it."""
        ...


def _out(text: Any) -> None:
    """Results go to standard output; progress to standard error."""
    Console().print(text, highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Embed the documents of a file: into a folder of shards, with bounded memory, or into one NumPy array."""

    model: tyro.conf.Positional[Path | str]
    """A sentence-transformers folder, or the id of one on the hub."""
    texts: tyro.conf.Positional[Path]
    """.txt, one document a line, or .jsonl with `id` and `text`; either may be .gz."""
    out: tyro.conf.Positional[Path]
    """The folder to write; a run that was killed goes on in it.  Or a .npy file, float32 `[n, d]` made in memory."""
    prompt: str | None = "document"
    """Which of the model's prompts to put before every text."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What products are taken in."""
    format: Literal["safetensors", "parquet", "lance"] = "safetensors"
    """What shards are written as."""
    stored: Literal["float32", "float16"] = "float32"
    """What vectors are stored as."""
    shard_rows: int = 8192
    """Documents a shard: memory grows with it, and so does what a kill loses."""
    truncated: Path | None = None
    """A file to list the ids of documents in that lost their end, one a line."""
    cache: Path | None = None
    """A folder of compiled programs, as `jaxemb warm-up` fills one."""

    def run(self) -> None:
        """Read, encode, write."""
        from jaxemb import model

        if self.cache is not None:
            model.cached(self.cache)
        (self._array if self.out.suffix == ".npy" else self._shards)()

    def _array(self) -> None:
        import numpy as np

        from jaxemb import atomic, data, model

        defaults = {"format": "safetensors", "stored": "float32", "shard_rows": 8192, "truncated": None}
        if odd := [name for name, default in defaults.items() if getattr(self, name) != default]:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in odd)
            raise ValueError(f"{names}: only for a folder of shards, {self.out} is one array")
        vectors = model.encode(
            model.load(self.model, dtype=self.dtype),
            data.read_texts(self.texts).texts,
            prompt=self.prompt,
            what=f"encode {self.texts.name}",
        )
        with atomic.file(self.out) as partial_file, partial_file.open("wb") as file:
            np.save(file, vectors, allow_pickle=False)
        _out(f"{self.out}: {vectors.shape[0]} vectors of {vectors.shape[1]} dimensions")

    def _shards(self) -> None:
        from jaxemb import atomic, model

        corpus = model.encode_corpus(
            model.load(self.model, dtype=self.dtype),
            self.texts,
            self.out,
            format=self.format,
            stored=self.stored,
            shard_rows=self.shard_rows,
            prompt=self.prompt,
            what=f"encode {self.texts.name}",
        )
        if self.truncated is not None:
            with atomic.file(self.truncated) as partial_file, partial_file.open("w", encoding="utf-8") as file:
                file.writelines(f"{name}\n" for name in corpus.truncated())
        told = corpus.manifest
        _out(f"{self.out}: {len(corpus)} vectors of {told['settings']['dimensions']} dimensions")


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """Compile a model's programs ahead, into a folder where later runs find them."""

    model: tyro.conf.Positional[Path | str]
    """A sentence-transformers folder, or the id of one on the hub."""
    shapes: tuple[str, ...] = ()
    """Batches as rows x tokens, as 1x32 16x128; by default all that up to 256 texts at once are given."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What products are taken in."""
    cache: Path | None = None
    """The folder; by default `jaxemb/compiled` in your cache folder."""

    def run(self) -> None:
        """Load, compile."""
        from jaxemb import model

        wanted = [_shape(text) for text in self.shapes] or None
        cache = self.cache or model.cache_folder()
        model.cached(cache)
        done = model.warm_up(model.load(self.model, dtype=self.dtype), wanted, what="compile")
        _out(f"{cache}: {len(done)} shapes; `jaxemb encode --cache {cache}` finds them there")


def _shape(text: str) -> tuple[int, int]:
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"--shapes: wanted rows x tokens, as 16x128, got {text!r}")
    return int(parts[0]), int(parts[1])


@dataclass(frozen=True, kw_only=True)
class Train:
    """Fine-tune a model on pairs, against the other documents of a batch and hard negatives of the file."""

    model: tyro.conf.Positional[Path | str]
    """A sentence-transformers folder, or the id of one on the hub."""
    pairs: tyro.conf.Positional[Path]
    """.jsonl or .parquet with `query`, `document` and perhaps `negatives`."""
    out: tyro.conf.Positional[Path]
    """The model folder to write; checkpoints go beside it, and a run that was killed goes on from them."""
    negatives: int = 0
    """Hard negatives of every pair to use; each pair of the file needs so many."""
    steps: int = 1000
    batch_size: int = 64
    learning_rate: float = 2e-5
    temperature: float = 0.05
    matryoshka: tuple[int, ...] = ()
    """Prefixes that must serve alone, the whole vector among them if it must, too."""
    tokens: int = 128
    """How much of a text is read in training."""
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What products are taken in; params stay float32."""

    def run(self) -> None:
        """Load, fit, save."""
        import optax

        from jaxemb import data, losses, model, train

        start = model.load(self.model, dtype=self.dtype)
        # Checkpoints of other settings, another model or other pairs must not be taken for this run's.
        settings = {name: value for name, value in asdict(self).items() if name not in {"model", "pairs", "out"}}
        with self.pairs.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        made_from = json.dumps([settings, model.fingerprint(start), content], sort_keys=True).encode()
        loss: Loss = partial(losses.info_nce, temperature=self.temperature)
        loss = losses.matryoshka(loss, self.matryoshka) if self.matryoshka else loss
        short = start.tokenizer.limited(self.tokens, add_special=start.tokenizer.add_special)
        params = train.fit(
            train.pairwise(start.encoder, loss),
            optax.adamw(train.warmup_cosine(self.learning_rate, self.steps)),
            data.stream(
                data.read_pairs(self.pairs),
                batch_size=self.batch_size,
                seed=self.seed,
                make=partial(_pairs, short, self.negatives),
            ),
            start.params,
            steps=self.steps,
            checkpoints=Path(f"{self.out}.checkpoints"),
            run=hashlib.sha256(made_from).hexdigest()[:12],
            log=Path(f"{self.out}.log.jsonl"),
        )
        model.save(start._replace(params=params), self.out)
        _out(f"{self.out}: trained {self.steps} steps; losses in {self.out}.log.jsonl")


def _pairs(tokenizer: "Tokenizer", negatives: int, pairs: "Sequence[Pair]") -> "Batch":
    """Queries, and their documents with the first negatives of every pair after them."""
    for pair in pairs:
        if len(pair.negatives) < negatives:
            raise ValueError(f"wanted {negatives} negatives a pair, got {len(pair.negatives)} for {pair.query[:60]!r}")
    hard = [text for pair in pairs for text in pair.negatives[:negatives]]
    return {
        "query": tokenizer([pair.query for pair in pairs]),
        "document": tokenizer([pair.document for pair in pairs] + hard),
    }


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Merge models of one shape into one."""

    models: tyro.conf.Positional[tuple[Path, ...]]
    """Two folders or more."""
    out: Path
    """The model folder to write."""
    operator: Literal["average", "slerp", "task-arithmetic"] = "average"
    weights: tuple[float, ...] = ()
    """One a model; for slerp one number, how far to go from the first model to the second."""
    base: Path | None = None
    """What task arithmetic takes differences from."""

    def run(self) -> None:
        """Load, merge, save."""
        from jaxemb import merge, model

        if len(self.models) < 2:
            raise ValueError(f"wanted two models or more, got {len(self.models)}")
        if self.out.resolve() in {folder.resolve() for folder in (*self.models, *filter(None, [self.base]))}:
            raise ValueError(f"--out is one of the models: {self.out}; write elsewhere")
        if self.base is not None and self.operator != "task-arithmetic":
            raise ValueError(f"--base is only for task-arithmetic, the operator is {self.operator}")
        models = [model.load(folder) for folder in self.models]
        params = [model.combined(models, one.params).params for one in models]
        weights = list(self.weights) or [1 / len(models)] * len(models)
        if self.operator == "slerp":
            if len(models) != 2 or len(self.weights) > 1:
                raise ValueError(f"slerp: wanted 2 models and 1 weight, got {len(models)} and {len(self.weights)}")
            merged = merge.slerp(params[0], params[1], self.weights[0] if self.weights else 0.5)
        elif self.operator == "task-arithmetic":
            if self.base is None:
                raise ValueError("task-arithmetic: wanted --base, the model that the others were trained from")
            base = model.load(self.base)
            merged = merge.task_arithmetic(model.combined([*models, base], base.params).params, params, weights)
        else:
            merged = merge.average(params, weights)
        model.save(model.combined(models, merged), self.out)
        _out(f"{self.out}: {self.operator} of {len(models)} models")


@dataclass(frozen=True, kw_only=True)
class Compress:
    """Turn an array of vectors into codes; the compressor is fitted on all of them and kept beside the codes."""

    vectors: tyro.conf.Positional[Path]
    """A .npy file, float32 `[n, d]`."""
    out: tyro.conf.Positional[Path]
    """The folder to write: `codes.npy` and `compressor/`."""
    compressor: str = "int8"
    """Its name, as `int8`, `bits`, `truncate-128` or `truncate-128+int8`."""

    def run(self) -> None:
        """Fit, apply, save."""
        import jax.numpy as jnp
        import numpy as np

        from jaxemb import atomic, compress

        vectors = np.load(self.vectors, allow_pickle=False)
        if vectors.ndim != 2 or vectors.dtype != np.float32 or not len(vectors):
            raise ValueError(f"{self.vectors}: wanted float32 [n, d], got {vectors.dtype} {list(vectors.shape)}")
        vectors = jnp.asarray(vectors)
        chosen = compress.by_name(self.compressor)
        state = chosen.fit(vectors)
        codes = np.asarray(chosen.apply(state, vectors))
        with atomic.folder(self.out, replaces="codes.npy") as partial_folder:
            compress.save(partial_folder / "compressor", chosen, state)
            np.save(partial_folder / "codes.npy", codes, allow_pickle=False)
        smaller = vectors.nbytes / codes.nbytes
        _out(f"{self.out}: {len(codes)} codes of {codes.nbytes // len(codes)} bytes, {smaller:.1f} times smaller")


@dataclass(frozen=True, kw_only=True)
class Index:
    """Embed the documents of a file and write a bundle that answers queries."""

    model: tyro.conf.Positional[Path | str]
    """A sentence-transformers folder, or the id of one on the hub."""
    texts: tyro.conf.Positional[Path]
    """.txt, one document a line, or .jsonl with `id` and `text`."""
    out: tyro.conf.Positional[Path]
    """The bundle to write; one that is there is replaced when the new one is finished."""
    kind: Literal["scann", "exact"] = "scann"
    compressor: str = "float32"
    """What is stored for a vector, as `int8` or `bits`; with scann `float32` or `truncate-<size>`."""

    def run(self) -> None:
        """Read, encode, index, write."""
        from jaxemb import compress, data, model
        from jaxemb.index import bundle

        documents = data.read_texts(self.texts)
        made = {"texts": self.texts.name, "model": Path(self.model).name}
        chosen = compress.by_name(self.compressor)
        loaded = model.searchable(model.load(self.model))
        bundle.write(self.out, loaded, documents.ids, documents.texts, compressor=chosen, index=self.kind, made=made)
        _out(f'{self.out}: {len(documents.ids)} documents; ask it: jaxemb search {self.out} "your question"')


@dataclass(frozen=True, kw_only=True)
class Search:
    """Ask a bundle: prints score, id and text of the nearest documents."""

    bundle: tyro.conf.Positional[Path]
    """A folder that `jaxemb index` or `jaxemb quickstart` wrote."""
    query: tyro.conf.Positional[str]
    k: int | None = None
    """How many documents; by default 5, or all where there are fewer."""

    def run(self) -> None:
        """Load, search, print."""
        from jaxemb.index import bundle

        opened = bundle.load(self.bundle)
        k = min(5, opened.index.size) if self.k is None else self.k
        for rank, found in enumerate(bundle.search(opened, [self.query], k)[0], start=1):
            _out(f"{rank}. {found.score:.4f}  {found.id}")
            _out("\n".join(f"     {line}" for line in found.text.splitlines()[:6]))


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure models and compressors on a retrieval task, beside BM25, and write a leaderboard."""

    out: tyro.conf.Positional[Path]
    """The folder to write."""
    models: tyro.conf.Positional[tuple[str, ...]]
    """Sentence-transformers folders, or ids on the hub."""
    task: str = "python-code"
    """A BEIR folder, or the task that is built from the code on this machine."""
    split: str = "test"
    compressors: tuple[str, ...] = ("float32", "int8", "bits")
    kinds: tuple[Literal["exact", "scann"], ...] = ("exact",)
    """Kinds of index; scann is measured with float32 only."""
    documents: int | None = None
    """At most so many documents of the task."""
    queries: int | None = None
    """At most so many queries of the task."""

    def run(self) -> None:
        """Read the task, measure every combination, write."""
        from jaxemb import compress, harness, model

        task = self._task()
        chosen = [compress.by_name(name) for name in self.compressors]
        variants = [harness.Variant(kind, one) for kind in self.kinds for one in chosen]
        variants = [one for one in variants if one.kind != "scann" or one.compressor.name == "float32"]
        if not variants:
            raise ValueError(f"scann is measured with float32 only, got --compressors {' '.join(self.compressors)}")
        names = [Path(name).name for name in self.models]
        if len(set(names)) < len(names):
            raise ValueError(f"rows are named for the models' folders, which must differ, got {names}")
        loaded = [model.searchable(model.load(source)) for source in self.models]
        embedded = [harness.embed(name, one, task) for name, one in zip(names, loaded, strict=True)]
        records = harness.suite([(one, variants) for one in embedded], task)
        _out(harness.terminal(harness.leaderboard.write(records, self.out)))
        _out(f"{self.out / 'leaderboard.html'}")

    def _task(self) -> "Task":
        from jaxemb import data

        if self.task == "python-code":
            task = data.python_code.task(data.python_code.prepare(self.out / "data"), self.split)
        else:
            task = data.read_beir(self.task, self.split)
        if self.documents is None and self.queries is None:
            return task
        return data.cap(
            task,
            documents=len(task.documents) if self.documents is None else min(self.documents, len(task.documents)),
            queries=len(task.queries) if self.queries is None else min(self.queries, len(task.queries)),
        )


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Make tables, plots and the page again from records."""

    records: tyro.conf.Positional[Path]
    """A file of JSON lines."""
    out: tyro.conf.Positional[Path]
    """The folder to write."""
    ranked_by: str = "ndcg@10"

    def run(self) -> None:
        """Read, summarise, write."""
        from jaxemb import harness

        board = harness.leaderboard.write(harness.record.read(self.records), self.out, ranked_by=self.ranked_by)
        _out(harness.terminal(board))
        _out(f"{self.out / 'leaderboard.html'}")


COMMANDS: dict[str, type[Command]] = {
    "train": Train,
    "encode": Encode,
    "warm-up": WarmUp,
    "merge": Merge,
    "compress": Compress,
    "index": Index,
    "search": Search,
    "bench": Bench,
    "leaderboard": Leaderboard,
}


def _quickstart(arguments: Sequence[str]) -> None:
    from jaxemb.quickstart import Config, quickstart

    quickstart(tyro.cli(Config, args=arguments, prog="jaxemb quickstart", description=quickstart.__doc__))


def _usage() -> str:
    told = {"quickstart": "The main job: from the code on this machine to a leaderboard and a bundle."}
    told |= {name: (command.__doc__ or "").splitlines()[0] for name, command in COMMANDS.items()}
    lines = [f"  {name:12} {text}" for name, text in told.items()]
    return "\n".join(["usage: jaxemb COMMAND ...", "", *lines, "", "jaxemb COMMAND --help tells the settings of one."])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name, rest = (given[0], given[1:]) if given else ("", [])
    if name in {"", "-h", "--help"}:
        _out(_usage())
        return 0 if name else 2
    if name == "--version":
        from jaxemb import __version__

        _out(f"jaxemb {__version__}")
        return 0
    complain = Console(stderr=True).print
    if name != "quickstart" and name not in COMMANDS:
        complain(
            f"jaxemb: no command {name!r}; there are quickstart, {', '.join(COMMANDS)}", highlight=False, markup=False
        )
        return 2
    try:
        if name == "quickstart":
            _quickstart(rest)
        else:
            tyro.cli(COMMANDS[name], args=rest, prog=f"jaxemb {name}").run()
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        complain(f"jaxemb {name}: {error}", highlight=False, markup=False, soft_wrap=True)
        return 2
    return 0
