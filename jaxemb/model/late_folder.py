"""Late-interaction folders in and out.

Read are those of sentence-transformers (`MultiVectorEncoder`, from release 6 on) and of PyLate, whose settings are
translated as that release does; the former is written.
"""

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import DTypeLike

from jaxemb import encode as encoders
from jaxemb.data.tokenize import Tokenizer
from jaxemb.model import folder as folders
from jaxemb.model import modules, settings, transformer
from jaxemb.model.late import Expansion, LateModel, LateSpec, make_late
from jaxemb.model.modules import TOKEN, Listed

PREFIXES = {"query_prefix": "query", "document_prefix": "document"}
"""PyLate's keys for what goes before a text, and the side of each."""
FLAGS = {"do_query_expansion": True, "attend_to_expansion_tokens": False}
"""And for what it does with queries, with what it takes where a folder does not say."""
PYLATE = (*PREFIXES, *FLAGS, "query_length", "document_length", "skiplist_words")
"""What only PyLate says in the settings of the whole model."""
LENGTH = 32
"""To how many tokens PyLate fills up queries where a folder does not say."""


def load_late(source: Path | str, *, dtype: DTypeLike = jnp.float32) -> LateModel:
    """Read a late-interaction folder of sentence-transformers or PyLate, or fetch one by its hub id.

    Args:
      source: a folder with `modules.json`, or an id on the hub.
      dtype: of the products; params are float32.
    Raises: FileNotFoundError for what is missing; ValueError that names unknown keys, modules or weights, or a folder
      whose texts have one vector.
    """
    folder = folders.resolved(source)
    if not folders.is_late(folder):
        raise ValueError(f"{folder}: not a late-interaction model; read it with load")
    rows = modules.listed(folder)
    file = folder / "config_sentence_transformers.json"
    use = settings.checked(
        file,
        settings.read(file),
        {
            **dict.fromkeys(("__version__", "prompts", "default_prompt_name", *PYLATE), ()),
            "model_type": (*folders.LATE, "SentenceTransformer"),
            "similarity_fn_name": (None, "maxsim", "MaxSim", "cosine"),  # the last two are PyLate's
        },
    )
    steps = _steps(folder, rows)
    body = transformer.read(rows[0].folder, late=True)
    by_pylate = use.get("model_type") != "MultiVectorEncoder"
    told = {**_translated(file, use), **body.told} if by_pylate else body.told
    tokenizer = body.tokenizer
    prompts = folders.prompts(file, use)
    if by_pylate:
        prompts |= _prefixed(use, prompts)
        tokenizer = _marked(tokenizer, [use.get(key) or "" for key in PREFIXES])
    skipped, skipping = _skipped(file, rows, use, by_pylate)
    normalize = by_pylate or rows[-1].kind == "Normalize"
    read = [modules.read(row, TOKEN) for row in steps]
    expansion = _expansion(folder, told.get("query_expansion"), tokenizer)
    if expansion is not None and not by_pylate and all(row.kind != MASK for row in rows):
        raise ValueError(
            f"{folder / 'modules.json'}: queries are filled up, but no {MASK} module scores what was added"
        )
    spec = LateSpec(
        backbone=body.backbone,
        modules=tuple(config for config, _ in read),
        normalize=normalize,
        max_length=body.max_length,
        query_length=_length(folder, told, "query_length"),
        document_length=_length(folder, told, "document_length"),
        expansion=expansion,
        skipped=skipped,
        skipping=skipping,
        prompts={side: prompt for side, prompt in prompts.items() if prompt},
    )
    own = {f"module_{i}": learnt for i, (_, learnt) in enumerate(read) if learnt}
    return make_late(spec, {**body.params, **own}, tokenizer, dtype=dtype)


def _length(folder: Path, told: Mapping[str, Any], key: str) -> int | None:
    """The longest text of a side, where a folder says one."""
    return None if told.get(key) is None else settings.number(folder, told, key)


MASK = "MultiVectorMask"


def _steps(folder: Path, rows: list[Listed]) -> list[Listed]:
    """The modules that every token's vector goes through.  Raises: ValueError for modules in another order."""
    kinds = [row.kind for row in rows]
    rest = [row for row in rows[1:] if row.kind != MASK]
    steps = rest[:-1] if rest and rest[-1].kind == "Normalize" else rest
    if (
        kinds[:1] != ["Transformer"]
        or kinds.count(MASK) > 1
        or any(row.kind not in ("Dense", "Normalize") for row in steps)
    ):
        raise ValueError(
            f"{folder / 'modules.json'}: wanted Transformer, then any of Dense, Normalize and one {MASK}; got {kinds}"
        )
    if rest and rest[-1].kind == "Normalize":
        modules.read(rest[-1], TOKEN)  # for its settings
    return steps


def _translated(file: Path, use: Mapping[str, Any]) -> dict[str, Any]:
    """PyLate's settings as those of sentence-transformers' Transformer."""
    said = {name: value for name, value in use.items() if value is not None}
    flags = {name: settings.truth(file, said, name, fallback) for name, fallback in FLAGS.items()}
    if not flags["do_query_expansion"]:
        told: dict[str, Any] = {"query_length": use.get("query_length")}
    else:
        length = use.get("query_length") or LENGTH
        attend = flags["attend_to_expansion_tokens"]
        told = {"query_expansion": {"strategy": "fixed", "attend": attend, "length": length}}
    return {**told, "document_length": use.get("document_length")}


def _prefixed(use: Mapping[str, Any], prompts: Mapping[str, str]) -> dict[str, str]:
    """A side's prompt behind PyLate's prefix."""
    found = {}
    for key, side in PREFIXES.items():
        if key in use:
            prefix = use[key] or ""
            found[side] = prefix + prompts.get(side, "").removeprefix(prefix)
    return found


def _marked(tokenizer: Tokenizer, prefixes: list[str]) -> Tokenizer:
    """The tokenizer with prefixes found as the one token that they are, if they are one.

    PyLate puts the token in; here, and in sentence-transformers, its text is put before a text and must become it.
    """
    known = tokenizer.vocabulary
    plain = tokenizer.limited(None, add_special=False)
    tokens = []
    for prefix in prefixes:
        token = next((one for one in (prefix, *prefix.split(maxsplit=1)[:1]) if one in known), None)
        if token and plain.ids([token]).rows[0].tolist() != [known[token]]:
            tokens.append(token)
    return tokenizer.marked(tokens) if tokens else tokenizer


def _skipped(
    file: Path, rows: list[Listed], use: Mapping[str, Any], by_pylate: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tokens that are not scored, and of which sides."""
    if by_pylate:
        return _words(file, use, string.punctuation), ("document",)
    mask = next((row for row in rows if row.kind == MASK), None)
    if mask is None:
        return (), ("document",)
    file = mask.folder / "config.json"
    known: dict[str, tuple[Any, ...]] = {
        "skiplist_words": (),
        "skiplist_tasks": (["document"], ["query", "document"], ["document", "query"], ["query"], []),
        "keep_only_token_ids": (None,),
    }
    told = settings.checked(file, settings.read(file, {}), known)
    return _words(file, told, ()), tuple(told.get("skiplist_tasks", ["document"]))


def _words(file: Path, told: Mapping[str, Any], fallback: Sequence[str]) -> tuple[str, ...]:
    words = told.get("skiplist_words")
    words = list(fallback) if words is None else words
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{file}: skiplist_words must be a list of texts, got {words!r}")
    return tuple(words)


def _expansion(folder: Path, told: Any, tokenizer: Tokenizer) -> Expansion | None:
    if told is None:
        return None
    file = folder / "sentence_bert_config.json"
    known: dict[str, tuple[Any, ...]] = {"strategy": ("fixed", "min"), "attend": (), "token": (), "length": ()}
    settings.checked(file, told, known)
    token = told.get("token") or tokenizer.special.get("mask_token") or tokenizer.special.get("eos_token")
    if token is None:
        raise ValueError(f"{file}: queries are filled up, but neither a mask nor an end token says with what")
    return Expansion(
        token=token,
        length=settings.number(file, told, "length"),
        attend=settings.truth(file, told, "attend", False),
        cut=told.get("strategy") == "fixed",
    )


def save_late(late: LateModel, folder: Path | str) -> None:
    """Write a folder that sentence-transformers loads as a `MultiVectorEncoder`, from release 6 on.

    It appears whole or not at all.

    Raises: FileExistsError where a folder of another kind is.
    """
    spec = late.spec
    files = transformer.files(spec.backbone, spec.max_length, late.tokenizer)
    files["sentence_bert_config.json"] |= _lengths(spec)
    base, own = "sentence_transformers.base.modules", "sentence_transformers.multi_vector_encoder.modules"
    steps = [*spec.modules, *([encoders.NormalizeConfig()] if spec.normalize else [])]
    written = [
        folders.module_part(step, late.params.get(f"module_{i}", {}), on=TOKEN)._replace(package=base)
        for i, step in enumerate(steps)
    ]
    mask = {"skiplist_words": list(spec.skipped), "skiplist_tasks": list(spec.skipping), "keep_only_token_ids": None}
    at = len(spec.modules)
    parts = [
        folders.Part("Transformer", files, transformer.tensors(spec.backbone, late.params), base),
        *written[:at],
        folders.Part(MASK, {"config.json": mask}, {}, own),
        *written[at:],
    ]
    use = {"model_type": "MultiVectorEncoder", "prompts": dict(spec.prompts), "similarity_fn_name": "maxsim"}
    folders.written(
        folder, parts, {"config_sentence_transformers.json": use}, late.tokenizer.to_json(), other=folders.not_late
    )


def _lengths(spec: LateSpec) -> dict[str, Any]:
    told: dict[str, Any] = {"query_length": spec.query_length, "document_length": spec.document_length}
    if spec.expansion is not None:
        told["query_expansion"] = {
            "strategy": "fixed" if spec.expansion.cut else "min",
            "attend": spec.expansion.attend,
            "token": spec.expansion.token,
            "length": spec.expansion.length,
        }
    return {name: value for name, value in told.items() if value is not None}
