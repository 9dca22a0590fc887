"""A model as the benchmark mteb, 2.x, takes one: by the methods that it calls, without a base class.

    from jaxemb import model
    results = mteb.evaluate(model.MtebEncoder(minilm, name="sentence-transformers/all-MiniLM-L6-v2"), tasks)

mteb is needed only when it asks what the model is.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxemb import extras
from jaxemb.model import precision
from jaxemb.model.encoding import encode
from jaxemb.model.spec import Model, fingerprint
from jaxemb.similarity import dot, unit

SIDES = {"query": ("query",), "document": ("document", "passage", "corpus"), None: ()}
"""The names under which a model may keep its prompt for a side; the first one there is taken."""

SETTINGS: dict[str, tuple[Any, ...]] = {"batch_size": (), "show_progress_bar": (), "precision": (None, "float32")}
"""What mteb's users may pass on to `encode`, and the values it may have; none listed allows all."""


def prompt_name(prompts: Mapping[str, str], *, task: str, kind: str, side: str | None) -> str | None:
    """Which prompt is for these texts: the most particular there is; None where there is none.

    The order is mteb's: `task-side`, `task`, `kind-side`, `kind`, `side`.  A model's prompt for documents may also be
    called `passage` or `corpus`, as in sentence-transformers.

    >>> prompts = {"query": "search: ", "Retrieval-query": "find: ", "STS": "compare: "}
    >>> prompt_name(prompts, task="SciFact", kind="Retrieval", side="query")
    'Retrieval-query'
    >>> prompt_name(prompts, task="SciFact", kind="Retrieval", side="document")

    Args:
      prompts: name -> prompt, as of a model.
      task: as `SciFact`.
      kind: the type of task, as `Retrieval`.
      side: `query`, `document`, or None where a task has no sides.
    Raises: ValueError for another side.
    """
    if side not in SIDES:
        raise ValueError(f"a side must be one of {list(SIDES)}, got {side!r}")
    names = [f"{task}-{side}", task, f"{kind}-{side}", kind] if side else [task, kind]
    return next((name for name in (*names, *SIDES[side]) if name in prompts), None)


@dataclass(frozen=True, kw_only=True)
class MtebEncoder:
    """What `mteb.evaluate` takes for a model.

    model: its prompts are chosen among as `prompt_name` says, its similarity is what mteb ranks by.
    name: as results are filed under, `organization/model`.
    revision: what tells its results from those of another of that name; by default the hash of spec, tokenizer and
      weights.

    Raises: ValueError for a name that mteb would refuse.
    """

    model: Model
    name: str
    revision: str | None = None

    def __post_init__(self) -> None:
        if self.name.count("/") != 1:
            raise ValueError(f"mteb files results under 'organization/model', got the name {self.name!r}")

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: str | None = None,
        **settings: Any,
    ) -> Float[np.ndarray, "n d"]:
        """The vectors of all texts of a task's side.

        Args:
          inputs: batches whose `text` is a list of texts; mteb has put a document's title before its text there.
          task_metadata: its `name` and `type` choose the prompt.
          hf_split, hf_subset: not needed.
          prompt_type: `query`, `document` or None.
          settings: of `SETTINGS`; the size of batches is planned here, whatever `batch_size` says.
        Raises: ValueError for other settings, or for batches without texts; TypeError where `text` is no list.
        """
        _check(settings)
        prompts, side = self.model.spec.prompts, None if prompt_type is None else str(prompt_type)
        return encode(
            self.model,
            [text for batch in inputs for text in _texts(batch)],
            prompt=prompt_name(prompts, task=task_metadata.name, kind=task_metadata.type, side=side),
            what=f"{task_metadata.name} {side or ''}".rstrip() if settings.get("show_progress_bar") else None,
        )

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Float[np.ndarray, "..."]:
        """Every row of one with every row of the other `[n, m]`, by the model's own similarity.

        One vector counts as one row.  Two vectors give one number, without axes, as mteb's summarization reads it.
        """
        with precision.exact(jnp.float32):
            scores = np.array(dot(self._comparable(embeddings1), self._comparable(embeddings2)))
        return scores if np.ndim(embeddings1) + np.ndim(embeddings2) > 2 else scores.reshape(())

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Float[np.ndarray, " n"]:
        """Every row of one with the row beside it, by the model's own similarity."""
        return np.array(jnp.sum(self._comparable(embeddings1) * self._comparable(embeddings2), axis=-1))

    def _comparable(self, vectors: Any) -> Float[Array, "n d"]:
        """Rows whose inner product is the model's similarity."""
        rows = jnp.atleast_2d(jnp.asarray(np.asarray(vectors), jnp.float32))
        return unit(rows) if self.model.spec.similarity == "cosine" else rows

    @functools.cached_property
    def mteb_model_meta(self) -> Any:
        """A `mteb.ModelMeta`; nothing is claimed of what a model folder does not say.

        Raises: ImportError where mteb is not installed.
        """
        meta = extras.load("mteb.models").ModelMeta
        spec = self.model.spec
        told = {
            "name": self.name,
            "revision": self.revision or fingerprint(self.model),
            "framework": ["JAX"],
            "similarity_fn_name": spec.similarity,
            "embed_dim": self.model.size,
            "max_tokens": spec.max_length,
            "n_parameters": sum(leaf.size for leaf in jax.tree.leaves(self.model.params)),
            "use_instructions": bool(spec.prompts),
            "modalities": ["text"],
            # The same weights embed otherwise in another precision: their results must not pass for these.
            "experiment_kwargs": None if self.model.dtype == jnp.float32 else {"dtype": self.model.dtype.name},
        }
        unknown = {name for name, one in meta.model_fields.items() if one.is_required()} - told.keys()
        return meta(**dict.fromkeys(unknown), **told)


def _check(settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ValueError(f"encode for mteb knows the settings {sorted(SETTINGS)}, got {name!r}")
        if SETTINGS[name] and value not in SETTINGS[name]:
            raise ValueError(f"encode for mteb: {name} must be one of {list(SETTINGS[name])}, got {value!r}")


def _texts(batch: Mapping[str, Any]) -> list[str]:
    if "text" not in batch:
        raise ValueError(f"encode for mteb: wanted batches with 'text', got one with {sorted(batch)}")
    texts = batch["text"]
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(f"encode for mteb: 'text' must be a list of texts, got {type(texts).__name__} {texts!r:.60}")
    return list(texts)
