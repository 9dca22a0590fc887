"""What each family's `config.json` says of its heads, and where checkpoints keep their weights."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxemb.encode.family import Family, dense, norm
from jaxemb.encode.text.heads import Classifier, WordScorer, among
from jaxemb.types import Entry


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the labels; a `config.json` that says nothing of them means two."""
    told = config.get("id2label")
    if not told:
        count = config.get("num_labels") or config.get("_num_labels") or 2
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"num_labels must be a number of labels, got {count!r}")
        return tuple(f"LABEL_{i}" for i in range(count))
    if not isinstance(told, Mapping):
        raise ValueError(f"id2label must be numbers and their labels, got {told!r:.60}")
    if told.keys() != {str(i) for i in range(len(told))}:
        raise ValueError(f"id2label must number its labels from 0, got {sorted(told)}")
    return tuple(str(told[str(i)]) for i in range(len(told)))


def _modernbert(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "activation": config.get("classifier_activation", "gelu"),
        "norm_bias": config.get("norm_bias", False),
        "epsilon": config.get("norm_eps", 1e-5),
    }


_LAST = {"dense": None, "out": "score", "pooling": "lasttoken", "out_bias": False}
_DECODERS = ("gemma3_text", "gpt2", "llama", "mistral", "qwen2", "qwen3")
_TWO_LAYERS = {"dense": "classifier.dense", "out": "classifier.out_proj"}
CLASSIFIERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "bert": lambda config: {"dense": "bert.pooler.dense", "out": "classifier"},
    "roberta": lambda config: _TWO_LAYERS,
    "xlm-roberta": lambda config: _TWO_LAYERS,
    "camembert": lambda config: _TWO_LAYERS,
    "nomic_bert": lambda config: {"dense": "nomic_bert.pooler.dense", "out": "classifier"},
    "mpnet": lambda config: _TWO_LAYERS,
    "distilbert": lambda config: {"dense": "pre_classifier", "out": "classifier", "activation": "relu"},
    "modernbert": lambda config: {
        "dense": "head.dense",
        "norm": "head.norm",
        "out": "classifier",
        "pooling": config.get("classifier_pooling", "cls"),
        "bias": config.get("classifier_bias", False),
        **_modernbert(config),
    },
    **{name: lambda config: _LAST for name in _DECODERS},
}
"""What each `model_type` says of its classifier, from a `config.json`."""


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dense": "lm_head.dense",
        "norm": "lm_head.layer_norm",
        "decoder": "lm_head.decoder",
        "bias": "lm_head.bias",
        "also": ("lm_head.decoder.bias",),
        "epsilon": config.get("layer_norm_eps", 1e-12),
    }


_BERT_WORDS = {
    "dense": "cls.predictions.transform.dense",
    "decoder": "cls.predictions.decoder",
    "bias": "cls.predictions.bias",
    "also": ("cls.predictions.decoder.bias",),
}
WORD_SCORERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "bert": lambda config: {
        **_BERT_WORDS,
        "norm": "cls.predictions.transform.LayerNorm",
        "activation": config.get("hidden_act", "gelu"),
        "epsilon": config.get("layer_norm_eps", 1e-12),
    },
    "roberta": _plain,
    "xlm-roberta": _plain,
    "camembert": _plain,
    "nomic_bert": lambda config: {
        **_BERT_WORDS,
        "norm": "cls.predictions.transform.layer_norm",
        "activation": config.get("hidden_act", "silu"),
        "epsilon": config.get("layer_norm_eps", config.get("layer_norm_epsilon", 1e-12)),
    },
    "mpnet": _plain,
    "distilbert": lambda config: {
        "dense": "vocab_transform",
        "norm": "vocab_layer_norm",
        "decoder": "vocab_projector",
        "bias": "vocab_projector.bias",
        "activation": config.get("activation", "gelu"),
    },
    "modernbert": lambda config: {
        "dense": "head.dense",
        "norm": "head.norm",
        "decoder": "decoder",
        "bias": "decoder.bias" if config.get("decoder_bias", True) else None,
        "dense_bias": config.get("classifier_bias", False),
        **_modernbert(config),
    },
}
"""What each `model_type` says of its masked-LM head, from a `config.json`."""


def _asked(config: Mapping[str, Any], task: str, known: Mapping[str, Any]) -> str:
    kind = config.get("model_type", "")
    among(f"a head for {task} on model_type", kind, known)
    names = config.get("architectures") or []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{kind} config: architectures must be a list of names, got {names!r:.60}")
    other = [name for name in names if not name.endswith(f"For{task}")]
    if other:
        raise ValueError(f"{kind} config: architectures must be one for {task}, got {other}")
    return kind


def read_classifier(config: Mapping[str, Any]) -> Classifier:
    """What a `config.json` says of its classifier.  Raises: ValueError for families and architectures without one."""
    kind = _asked(config, "SequenceClassification", CLASSIFIERS)
    return Classifier(labels=_labels(config), **CLASSIFIERS[kind](config))


def describe_classifier(config: Mapping[str, Any], head: Classifier) -> dict[str, Any]:
    """A backbone's `config.json` with what a classifier adds to it, as `read_classifier` reads it."""
    body = config["architectures"][0].removesuffix("Model")
    told = {
        **config,
        "architectures": [f"{body}ForSequenceClassification"],
        "id2label": {str(i): label for i, label in enumerate(head.labels)},
        "label2id": {label: i for i, label in enumerate(head.labels)},
    }
    if config["model_type"] != "modernbert":
        return told
    return told | {
        "classifier_pooling": head.pooling,
        "classifier_activation": head.activation,
        "classifier_bias": head.bias,
    }


def read_word_scorer(config: Mapping[str, Any]) -> WordScorer:
    """What a `config.json` says of its masked-LM head.  Raises: ValueError for families and architectures without."""
    kind = _asked(config, "MaskedLM", WORD_SCORERS)
    told, tied = WORD_SCORERS[kind](config), config.get("tie_word_embeddings", True)
    if not isinstance(tied, bool):
        raise ValueError(f"{kind} config: tie_word_embeddings must be true or false, got {tied!r}")
    if "also" in told and not tied:  # then the decoder's own bias is the one that counts
        told = {**told, "bias": told["also"][0], "also": (told["bias"],)}
    return WordScorer(tied=tied, **told)


def describe_word_scorer(config: Mapping[str, Any], head: WordScorer) -> dict[str, Any]:
    """A backbone's `config.json` with what a masked-LM head adds to it, as `read_word_scorer` reads it."""
    body = config["architectures"][0].removesuffix("Model")
    told = {**config, "architectures": [f"{body}ForMaskedLM"], "tie_word_embeddings": head.tied}
    if config["model_type"] != "modernbert":
        return told
    return told | {
        "classifier_activation": head.activation,
        "classifier_bias": head.dense_bias,
        "decoder_bias": head.bias is not None,
    }


def _backbone_keys(family: Family, config: Any) -> list[Entry]:
    """A backbone's entries by the names that checkpoints with a head give it."""
    return [
        entry._replace(theirs=tuple(family.prefix + name for name in entry.theirs)) for entry in family.keys(config)
    ]


def classifier_keys(family: Family, config: Any, head: Classifier) -> list[Entry]:
    """Every leaf of a classified backbone and the foreign names it comes from."""
    own = dense("head.out", head.out, bias=head.out_bias)
    own += dense("head.dense", head.dense, bias=head.bias) if head.dense else []
    own += norm("head.norm", head.norm, bias=head.norm_bias) if head.norm else []
    return [*_backbone_keys(family, config), *own]


def masked_lm_keys(family: Family, config: Any, head: WordScorer) -> list[Entry]:
    """Every leaf of a masked language model and the foreign names it comes from."""
    own = [*dense("head.dense", head.dense, bias=head.dense_bias), *norm("head.norm", head.norm, bias=head.norm_bias)]
    own += [Entry("head.bias", (head.bias,))] if head.bias else []
    own += [] if head.tied else [Entry("head.decoder", (f"{head.decoder}.weight",))]
    return [*_backbone_keys(family, config), *own]


def unused_beside_head(family: Family) -> tuple[str, ...]:
    """Foreign names in checkpoints with a head on which no score depends."""
    return (*(family.prefix + name for name in family.unused), *_NEXT_SENTENCE)


def unused_without_words(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Foreign names that a masked language model has beside its body's, on which no token state depends."""
    if (kind := config.get("model_type", "")) not in WORD_SCORERS:
        return ()
    told = WORD_SCORERS[kind](config)
    layers = [f"{told[layer]}.{part}" for layer in ("dense", "norm", "decoder") for part in ("weight", "bias")]
    return (*layers, *([told["bias"]] if told["bias"] else []), *told.get("also", ()), *_NEXT_SENTENCE)


_NEXT_SENTENCE = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")


def copies(family: Family, config: Any, head: WordScorer) -> dict[str, str]:
    """Foreign names under which a checkpoint may keep a tensor a second time, and the name that the key map has."""
    twice = {other: head.bias for other in head.also if head.bias}
    if head.tied:
        table = next(entry for entry in _backbone_keys(family, config) if entry.ours == "embeddings.tokens.table")
        twice[f"{head.decoder}.weight"] = table.theirs[0]
    return twice
