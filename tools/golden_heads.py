"""Remake tests/golden/heads: tiny random models with a head, and the logits that the reference computes.

Needs torch and transformers (the extra `parity`); run from the repository's root, for all or for some:

    python tools/golden_heads.py [name ...]

Writes, under tests/golden/heads/<name>: the model as transformers saves it, and `values.npz` with token ids, mask,
segments where the family reads them, and logits.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as t
from golden_families import LENGTHS, randomised
from transformers import PreTrainedModel

HERE = Path(__file__).parent.parent / "tests" / "golden" / "heads"
SHAPE: dict[str, Any] = {
    "vocab_size": 25,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 14,
}


def bert(**more: Any) -> t.BertConfig:
    return t.BertConfig(**SHAPE, **more)


def xlm_roberta(**more: Any) -> t.XLMRobertaConfig:
    return t.XLMRobertaConfig(**SHAPE, type_vocab_size=1, **more)


def mpnet(**more: Any) -> t.MPNetConfig:
    return t.MPNetConfig(**SHAPE, **more)


def distilbert(**more: Any) -> t.DistilBertConfig:
    return t.DistilBertConfig(
        vocab_size=25, dim=16, n_layers=2, n_heads=4, hidden_dim=24, max_position_embeddings=14, **more
    )


def modernbert(**more: Any) -> t.ModernBertConfig:
    special = {f"{role}_token_id": i for i, role in enumerate(("pad", "bos", "eos", "cls", "sep"))}
    return t.ModernBertConfig(**SHAPE, **special, local_attention=4, global_attn_every_n_layers=2, **more)


def nomic_bert(**more: Any) -> t.NomicBertConfig:
    return t.NomicBertConfig(**SHAPE, **more)


def qwen3(**more: Any) -> t.Qwen3Config:
    return t.Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=6, pad_token_id=0, **more)


def gpt2(**more: Any) -> t.GPT2Config:
    return t.GPT2Config(vocab_size=25, n_embd=16, n_layer=2, n_head=4, n_positions=14, pad_token_id=0, **more)


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert-classes": lambda: t.BertForSequenceClassification(bert(id2label={0: "no", 1: "perhaps", 2: "yes"})),
    "bert-words": lambda: t.BertForMaskedLM(bert(hidden_act="gelu_new")),
    "bert-words-untied": lambda: t.BertForMaskedLM(bert(tie_word_embeddings=False)),
    "xlm-roberta-score": lambda: t.XLMRobertaForSequenceClassification(xlm_roberta(num_labels=1)),
    "xlm-roberta-words": lambda: t.XLMRobertaForMaskedLM(xlm_roberta()),
    "mpnet-classes": lambda: t.MPNetForSequenceClassification(mpnet(num_labels=3)),
    "mpnet-words": lambda: t.MPNetForMaskedLM(mpnet()),
    "distilbert-classes": lambda: t.DistilBertForSequenceClassification(distilbert(num_labels=3)),
    "distilbert-words": lambda: t.DistilBertForMaskedLM(distilbert()),
    "nomic_bert-classes": lambda: t.NomicBertForSequenceClassification(nomic_bert(num_labels=3)),
    "nomic_bert-words": lambda: t.NomicBertForMaskedLM(nomic_bert()),
    "qwen3-score": lambda: t.Qwen3ForSequenceClassification(qwen3(num_labels=1)),
    "gpt2-classes": lambda: t.GPT2ForSequenceClassification(gpt2(num_labels=3)),
    "modernbert-score": lambda: t.ModernBertForSequenceClassification(modernbert(num_labels=1)),
    "modernbert-classes": lambda: t.ModernBertForSequenceClassification(
        modernbert(classifier_pooling="mean", classifier_activation="silu", classifier_bias=True, norm_bias=True)
    ),
    "modernbert-words": lambda: t.ModernBertForMaskedLM(modernbert()),
}


def keep(name: str) -> None:
    """Make one model, save it, and keep what the reference computes with it."""
    torch.manual_seed(0)
    model = randomised(MODELS[name]())
    longest = max(LENGTHS)
    mask = (torch.arange(longest)[None] < torch.tensor(LENGTHS)[:, None]).long()
    inputs = {"input_ids": torch.randint(5, model.config.vocab_size, mask.shape), "attention_mask": mask}
    inputs["input_ids"][mask == 0] = model.config.pad_token_id
    if getattr(model.config, "type_vocab_size", 1) > 1:
        inputs["token_type_ids"] = torch.randint(0, 2, mask.shape) * mask
    with torch.no_grad():
        logits = model(**inputs).logits
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    ours = {"input_ids": "ids", "attention_mask": "mask", "token_type_ids": "segments"}
    arrays = {ours[key]: value.numpy().astype(np.int32) for key, value in inputs.items()}
    np.savez(folder / "values.npz", allow_pickle=False, logits=logits.numpy(), **arrays)


def main() -> None:
    """Remake what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MODELS, []], metavar="name")
    for name in parser.parse_args().names or MODELS:
        keep(name)


if __name__ == "__main__":
    main()
