"""Folders of cross-encoders in and out, as sentence-transformers' CrossEncoder and transformers keep them.

From release 6 on a folder has a module list and settings of its own; before, all was in `config.json`.  Either is read;
the older kind is written, which every release reads, and the newer beside it for prompts.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from jaxemb import atomic, checkpoint
from jaxemb import encode as encoders
from jaxemb.encode.family import Family, headed
from jaxemb.encode.text import head_names
from jaxemb.encode.text.heads import Classifier, classified
from jaxemb.model import folder as folders
from jaxemb.model import modules, settings, transformer
from jaxemb.model.cross import ACTIVATIONS, CrossModel, CrossSpec, make_cross
from jaxemb.types import Params

OWN = ("sentence_transformers", "sbert_ce_default_activation_function")
"""Keys that sentence-transformers adds to `config.json`."""

TASK: dict[str, tuple[Any, ...]] = {
    "transformer_task": ("sequence-classification",),
    "modality_config": ({"text": {"method": "forward", "method_output_name": "logits"}},),
    "module_output_name": ("scores",),
}
"""What the settings of the module may say that are others in an encoder's."""

USE: dict[str, tuple[Any, ...]] = {
    "__version__": (),
    "activation_fn": (),
    "default_prompt_name": (),
    "keep_in_fp32_modules": (None, []),
    "model_type": ("CrossEncoder",),
    "prompts": (),
}
"""What the settings of the whole may say."""


def load_cross(source: Path | str, *, dtype: DTypeLike = jnp.float32) -> CrossModel:
    """Read a folder with a model for sequence classification, or fetch one by its hub id.

    Args:
      source: a folder, or an id such as `cross-encoder/ms-marco-MiniLM-L6-v2`.
      dtype: of the products; params are float32.
    Raises: FileNotFoundError for what is missing; ValueError that names unknown keys, modules, activations or weights.
    """
    folder = folders.resolved(source)
    _only_a_transformer(folder)
    file = folder / "config.json"
    config = settings.read(file)
    try:
        family, backbone = parsed(config)
        head = head_names.read_classifier(config)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    file = folder / "config_sentence_transformers.json"
    use = settings.checked(file, settings.read(file, {}), USE)
    told = settings.checked(
        folder / "sentence_bert_config.json",
        settings.read(folder / "sentence_bert_config.json", {}),
        {**transformer.KNOWN, **TASK},
    )
    tokens = settings.read(folder / transformer.TOKENS, {})
    _without_chat(folder, told, tokens)
    spec = CrossSpec(
        backbone=backbone,
        classifier=head,
        max_length=transformer.longest(folder, family.longest(backbone), told),
        activation=_activation(file.parent, config, use, head),
        segments=reads_segments(backbone, tokens),
        prompts=folders.prompts(file, use),
        default_prompt=use.get("default_prompt_name"),
    )
    params = fitted(checkpoint.read_weights(folder), family, backbone, head)
    return make_cross(spec, params, transformer.read_tokenizer(folder, told), dtype=dtype)


def parsed(config: Mapping[str, Any]) -> tuple[Family, Any]:
    """The family and the shape in a `config.json`, whatever it says of labels and scores.

    Raises: ValueError for unknown keys.
    """
    family = encoders.family_named(config.get("model_type", ""))
    return family, family.parse({key: value for key, value in config.items() if key not in OWN})


def fitted(tensors: Mapping[str, np.ndarray], family: Family, backbone: Any, head: Classifier) -> Params:
    """Params of a classified backbone from a checkpoint's tensors.  Raises: ValueError that names what does not fit."""
    encoder = classified(family.backbone(backbone), head, backbone.hidden_size)
    like = jax.eval_shape(encoder.init, jax.random.key(0))
    entries = head_names.classifier_keys(family, backbone, head)
    return checkpoint.from_foreign(headed(tensors, family), entries, like, unused=head_names.unused_beside_head(family))


def _only_a_transformer(folder: Path) -> None:
    if not (folder / "modules.json").is_file():
        return
    rows = modules.listed(folder)
    if [row.kind for row in rows] != ["Transformer"] or rows[0].folder.resolve() != folder.resolve():
        kinds = [row.kind for row in rows]
        raise ValueError(f"{folder / 'modules.json'}: wanted one Transformer, in the folder itself; got {kinds}")


def _without_chat(folder: Path, told: Mapping[str, Any], tokens: Mapping[str, Any]) -> None:
    """sentence-transformers puts pairs into a chat template where there is one, unless the settings say text."""
    there = bool(tokens.get("chat_template")) or any(folder.glob("chat_template.*"))
    if there and "modality_config" not in told:
        raise ValueError(f"{folder}: wanted a tokenizer without a chat template, or modality_config to say text alone")


def _activation(folder: Path, config: Mapping[str, Any], use: Mapping[str, Any], head: Classifier) -> str:
    """The class that makes scores of logits: as the newest of three places has it, or by the number of labels."""
    older = config.get("sentence_transformers") or {}
    told = use.get("activation_fn") or older.get("activation_fn") or config.get("sbert_ce_default_activation_function")
    if told is None:
        return "Sigmoid" if len(head.labels) == 1 else "Identity"
    name = str(told).rpartition(".")[2]
    if not str(told).startswith("torch.nn.") or name not in ACTIVATIONS:
        raise ValueError(f"{folder}: activation_fn must be one of torch.nn's {', '.join(ACTIVATIONS)}, got {told!r}")
    return name


_WITHOUT_SEGMENTS = ("TokenizersBackend", "Roberta", "XLMRoberta", "Camembert", "DistilBert", "MPNet")


def reads_segments(backbone: Any, tokens: Mapping[str, Any]) -> bool:
    """Whether the encoder is told segments: if it has several, and its tokenizer hands them out.

    `model_input_names` says it; without, the tokenizer's class does.
    """
    if getattr(backbone, "type_vocab_size", 0) < 2:
        return False
    if (names := tokens.get("model_input_names")) is not None:
        return "token_type_ids" in names
    return not str(tokens.get("tokenizer_class", "")).startswith(_WITHOUT_SEGMENTS)


_PACKAGE = "sentence_transformers.base.modules.transformer"


def _files(cross: CrossModel) -> dict[str, Any]:
    spec = cross.spec
    package = "linear" if spec.activation == "Identity" else "activation"
    activation = f"torch.nn.modules.{package}.{spec.activation}"
    files = transformer.files(spec.backbone, spec.max_length, cross.tokenizer)
    names = ["input_ids", *(["token_type_ids"] if spec.segments else []), "attention_mask"]
    found: dict[str, Any] = {
        "config.json": {
            **head_names.describe_classifier(files["config.json"], spec.classifier),
            "sentence_transformers": {"activation_fn": activation},
        },
        "tokenizer_config.json": {**files["tokenizer_config.json"], "model_input_names": names},
    }
    if spec.prompts:  # which only the newer kind of folder can say
        found["modules.json"] = [{"idx": 0, "name": "0", "path": "", "type": f"{_PACKAGE}.Transformer"}]
        found["sentence_bert_config.json"] = {name: values[0] for name, values in TASK.items()}
        found["config_sentence_transformers.json"] = {
            "model_type": "CrossEncoder",
            "activation_fn": activation,
            "prompts": dict(spec.prompts),
            "default_prompt_name": spec.default_prompt,
        }
    return found


def save_cross(cross: CrossModel, folder: Path | str) -> None:
    """Write a folder that sentence-transformers' CrossEncoder and transformers load; whole or not at all.

    Raises: FileExistsError where a folder of another kind is, ValueError where a model of other modules is.
    """
    _only_a_transformer(Path(folder))  # what is there and is another model must not be replaced
    spec = cross.spec
    entries = head_names.classifier_keys(encoders.family_of(spec.backbone), spec.backbone, spec.classifier)
    with atomic.folder(
        folder, replaces=checkpoint.WEIGHTS, other=settings.other_than("SequenceClassification")
    ) as partial:
        for name, content in _files(cross).items():
            (partial / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (partial / "tokenizer.json").write_text(cross.tokenizer.to_json(), encoding="utf-8")
        checkpoint.write_tensors(checkpoint.to_foreign(cross.params, entries), partial / checkpoint.WEIGHTS)
