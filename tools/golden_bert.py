"""Remake tests/golden/bert: a tiny random BERT and what the reference libraries compute with it.

Needs torch, transformers and sentence-transformers (the extra `parity`); run from the repository's root:

    python tools/golden_bert.py

Writes, under tests/golden/bert: `new/` as sentence-transformers saves it today, `old/` the same model with the older
generation of configuration files, and `values.npz` with inputs, every layer's hidden states and every pooling's
vectors.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

HERE = Path(__file__).parent.parent / "tests" / "golden" / "bert"
TEXTS = ["a b c", "d", "", "e f g h i j k l m n o p q r s t", "b unknown c c c"]
POOLINGS = ("mean", "cls", "max", "lasttoken")


def tokenizer() -> PreTrainedTokenizerFast:
    """Letters are words; special tokens stand where BERT has them."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {token: i for i, token in enumerate([*special, *"abcdefghijklmnopqrst"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, mask_token="[MASK]", model_max_length=12, **names)


def bert() -> BertModel:
    """Every weight random, biases and norms too, so that none can be forgotten unseen."""
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=25,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=24,
            max_position_embeddings=12,
        )
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.eval()


def old_generation(new: Path, old: Path) -> None:
    """The same folder as releases before 5 wrote it."""
    shutil.copytree(new, old)
    for name in ("sentence_bert_config.json", "config_sentence_transformers.json", "modules.json"):
        (old / name).unlink(missing_ok=True)
    shutil.rmtree(old / "2_Normalize")
    pooling = {"word_embedding_dimension": 16}
    for key in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens"):
        pooling[f"pooling_mode_{key}"] = key == "mean_tokens"
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate((("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")))
    ]
    for name, content in (
        ("1_Pooling/config.json", pooling),
        ("modules.json", modules),
        ("sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False}),
    ):
        (old / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Make the model, save it in both generations, and keep what the reference computes."""
    shutil.rmtree(HERE, ignore_errors=True)
    parts = HERE / "parts"
    tokenizer().save_pretrained(parts)
    bert().save_pretrained(parts)
    body = Transformer(str(parts))
    values: dict[str, np.ndarray] = {}
    for mode in POOLINGS:
        whole = SentenceTransformer(modules=[body, Pooling(16, pooling_mode=mode)], device="cpu")
        values[mode] = whole.encode(TEXTS)
    normalized = SentenceTransformer(modules=[body, Pooling(16, pooling_mode="mean"), Normalize()], device="cpu")
    values["normalized"] = normalized.encode(TEXTS)
    normalized.save(str(HERE / "new"), create_model_card=False)
    old_generation(HERE / "new", HERE / "old")
    read = tokenizer()(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        states = bert()(read["input_ids"], attention_mask=read["attention_mask"], output_hidden_states=True)
    values["ids"], values["mask"] = read["input_ids"].numpy(), read["attention_mask"].numpy()
    values["hidden"] = torch.stack(states.hidden_states).numpy()
    values["texts"] = np.array(TEXTS)
    np.savez(HERE / "values.npz", allow_pickle=False, **values)
    shutil.rmtree(parts)


if __name__ == "__main__":
    main()
