"""Pairs of texts to a tuned model."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from jaxemb import progress
from jaxemb.commands.command import show

if TYPE_CHECKING:
    from jaxemb.data import Pair, Tokenizer
    from jaxemb.types import Batch, Grouped, Loss, Tokens

SLICE = 1024  # pairs that are looked at at once before training


@dataclass(frozen=True, kw_only=True)
class Train:
    """Fine-tune a model on pairs, against the other documents of a batch and hard negatives of the file.

    Documents that equal a query's own, or answer an equal query, are none of its negatives; the number that is
    shown and logged counts them in.
    """

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
    groups: int = 1
    """Of like length, in which the texts of a batch are read, so that short ones are not padded to the longest."""
    chunk: int | None = None
    """Texts whose states are in memory at once, for batches that do not fit; each text is then read twice."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What products are taken in; params stay float32."""

    def run(self) -> None:
        """Load, fit, save."""
        import optax

        from jaxemb import data, losses, model, train

        self._check()
        start = model.load(self.model, dtype=self.dtype)
        # Checkpoints of other settings, another model or other pairs must not be taken for this run's.
        settings = {name: value for name, value in asdict(self).items() if name not in {"model", "pairs", "out"}}
        with self.pairs.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        made_from = json.dumps([settings, model.fingerprint(start), content], sort_keys=True).encode()
        loss: Loss = losses.mask_duplicates(partial(losses.info_nce, temperature=self.temperature))
        loss = losses.matryoshka(loss, self.matryoshka) if self.matryoshka else loss
        encoder = start.encoder if self.chunk is None else train.gradient_cache(start.encoder, self.chunk)
        longest = min(self.tokens, start.tokenizer.max_length or self.tokens)
        short = start.tokenizer.limited(longest, add_special=start.tokenizer.add_special)
        pairs = data.read_pairs(self.pairs)
        _survey(pairs, short, self.negatives)
        params = train.fit(
            train.pairwise(encoder, loss, passed=("document_key",)),
            optax.adamw(train.warmup_cosine(self.learning_rate, self.steps)),
            data.stream(
                pairs,
                batch_size=self.batch_size,
                seed=self.seed,
                make=partial(_pairs, short, self.negatives, self.groups),
            ),
            start.params,
            steps=self.steps,
            checkpoints=Path(f"{self.out}.checkpoints"),
            run=hashlib.sha256(made_from).hexdigest()[:12],
            log=Path(f"{self.out}.log.jsonl"),
        )
        model.save(start._replace(params=params), self.out)
        show(f"{self.out}: trained {self.steps} steps; losses in {self.out}.log.jsonl")

    def _check(self) -> None:
        """Before anything is loaded.  Raises: ValueError that names a setting out of range."""
        least = {"negatives": 0, "steps": 1, "batch_size": 1, "tokens": 1, "groups": 1, "chunk": 1}
        for name, wanted in least.items():
            if (value := getattr(self, name)) is not None and value < wanted:
                raise ValueError(f"{_option(name)}: wanted {wanted} or more, got {value}")
        for name in ("learning_rate", "temperature"):
            if not (math.isfinite(value := getattr(self, name)) and value > 0):
                raise ValueError(f"{_option(name)}: wanted a number above 0, got {value}")
        if self.batch_size == 1 and not self.negatives:
            raise ValueError(
                "--batch-size: wanted 2 or more without --negatives, got 1: a query meets no other document"
            )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _survey(pairs: "Sequence[Pair]", tokenizer: "Tokenizer", negatives: int) -> None:
    """Read all pairs once before the hours of training, and say how many texts lose their end.

    Raises: ValueError that names a pair with too few negatives.
    """
    cut = 0
    with progress.bar("read", len(pairs)) as advance:
        for start in range(0, len(pairs), SLICE):
            some = pairs[start : start + SLICE]
            for row, pair in enumerate(some, start):
                if (count := len(pair.negatives)) < negatives:
                    raise ValueError(f"pair {row}: wanted {negatives} negatives, got {count} for {pair.query[:60]!r}")
            texts = [text for one in some for text in (one.query, one.document, *one.negatives[:negatives])]
            cut += int(tokenizer.ids(texts).truncated.sum())
            advance(len(some))
    if cut:
        total = len(pairs) * (2 + negatives)
        progress.say(f"{cut} of {total} texts were longer than {tokenizer.max_length} tokens and lost their end")


def _pairs(tokenizer: "Tokenizer", negatives: int, groups: int, pairs: "Sequence[Pair]") -> "Batch":
    """Queries, and their documents with all first negatives after them, then all second ones."""
    from jaxemb.data import document_keys, documents_of, grouped

    def read(texts: list[str]) -> "Tokens | Grouped":
        return tokenizer(texts) if groups == 1 else grouped(tokenizer.ids(texts).rows, groups, tokenizer.max_length)

    return {
        "query": read([pair.query for pair in pairs]),
        "document": read(documents_of(pairs, negatives)),
        "document_key": document_keys(pairs, negatives),
    }
