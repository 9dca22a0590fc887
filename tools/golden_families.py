"""Remake tests/golden/families: a tiny random model of each architecture and the states that the reference computes.

Needs torch and transformers (the extra `parity`); run from the repository's root, for all or for some:

    python tools/golden_families.py [name ...]

Writes, under tests/golden/families/<name>: the model as transformers saves it, and `values.npz` with token ids, mask,
the states of every layer and the last ones.
"""

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel

HERE = Path(__file__).parent.parent / "tests" / "golden" / "families"
LENGTHS = (11, 7, 1, 4)
LONGEST = {"mpnet": 140}
"""The length of the first text where a family's facts need more: past the last distance that MPNet tells apart."""
COUNTING = ("mpnet", "roberta")
"""Families that count places by ids: the first text has the padding's id among its tokens."""


def bert() -> PreTrainedModel:
    return transformers.BertModel(
        transformers.BertConfig(
            vocab_size=25,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=24,
            max_position_embeddings=12,
        )
    )


SMALL = {
    "vocab_size": 25,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}


def llama() -> PreTrainedModel:
    """Slow turns stretched as in Llama 3.1, and every bias there can be."""
    stretched = {
        "rope_type": "llama3",
        "rope_theta": 50.0,
        "factor": 4.0,
        "low_freq_factor": 0.5,
        "high_freq_factor": 2.0,
        "original_max_position_embeddings": 16,
    }
    config = transformers.LlamaConfig(**SMALL, attention_bias=True, mlp_bias=True, rope_parameters=stretched)
    return transformers.LlamaModel(config)


def mistral() -> PreTrainedModel:
    """A window on every layer, shorter than the texts."""
    stretched = {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0}
    return transformers.MistralModel(transformers.MistralConfig(**SMALL, sliding_window=4, rope_parameters=stretched))


def qwen2() -> PreTrainedModel:
    """A window from the second layer on."""
    window = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    return transformers.Qwen2Model(transformers.Qwen2Config(**SMALL, **window))


def qwen3() -> PreTrainedModel:
    return transformers.Qwen3Model(transformers.Qwen3Config(**SMALL))


def qwen3_bidirectional() -> PreTrainedModel:
    """Tokens that see those after them, within a window on some layers."""
    window = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}
    return transformers.Qwen3Model(transformers.Qwen3Config(**SMALL, **window, is_causal=False))


def _gemma3(*, bidirectional: bool) -> PreTrainedModel:
    return transformers.Gemma3TextModel(
        transformers.Gemma3TextConfig(
            **SMALL,
            query_pre_attn_scalar=5,
            sliding_window=5,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={
                "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 2.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
            },
            use_bidirectional_attention=bidirectional,
        )
    )


def gemma3() -> PreTrainedModel:
    return _gemma3(bidirectional=False)


def gemma3_bidirectional() -> PreTrainedModel:
    return _gemma3(bidirectional=True)


def gpt2() -> PreTrainedModel:
    return transformers.GPT2Model(
        transformers.GPT2Config(vocab_size=25, n_embd=16, n_layer=3, n_head=4, n_inner=24, n_positions=12)
    )


TINY = {"vocab_size": 25, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 24}


def roberta() -> PreTrainedModel:
    return transformers.RobertaModel(
        transformers.RobertaConfig(**TINY, max_position_embeddings=13, type_vocab_size=1, layer_norm_eps=1e-5)
    )


def xlm_roberta() -> PreTrainedModel:
    """Another id for padding, so that places begin elsewhere."""
    return transformers.XLMRobertaModel(
        transformers.XLMRobertaConfig(**TINY, max_position_embeddings=16, pad_token_id=3, hidden_act="relu")
    )


def camembert() -> PreTrainedModel:
    return transformers.CamembertModel(transformers.CamembertConfig(**TINY, max_position_embeddings=13))


def distilbert() -> PreTrainedModel:
    return transformers.DistilBertModel(
        transformers.DistilBertConfig(
            vocab_size=25, dim=16, n_layers=3, n_heads=4, hidden_dim=24, max_position_embeddings=12
        )
    )


def mpnet() -> PreTrainedModel:
    tiny = TINY | {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2}
    return transformers.MPNetModel(transformers.MPNetConfig(**tiny, max_position_embeddings=142))


def modernbert() -> PreTrainedModel:
    """Windows shorter than the texts."""
    tiny = TINY | {"num_hidden_layers": 4, "max_position_embeddings": 12, "pad_token_id": 0}
    return transformers.ModernBertModel(transformers.ModernBertConfig(**tiny, local_attention=6))


def modernbert_biased() -> PreTrainedModel:
    """Every bias, layers in no even order, and an odd window."""
    tiny = TINY | {"num_hidden_layers": 4, "max_position_embeddings": 12, "pad_token_id": 0}
    local, wide = "sliding_attention", "full_attention"
    ropes = {wide: {"rope_type": "default", "rope_theta": 50.0}, local: {"rope_type": "default", "rope_theta": 5.0}}
    biases = {"norm_bias": True, "attention_bias": True, "mlp_bias": True}
    return transformers.ModernBertModel(
        transformers.ModernBertConfig(
            **tiny, **biases, local_attention=5, layer_types=[local, wide, wide, local], rope_parameters=ropes
        )
    )


def nomic_bert() -> PreTrainedModel:
    return transformers.NomicBertModel(transformers.NomicBertConfig(**TINY, max_position_embeddings=12))


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": bert,
    "camembert": camembert,
    "distilbert": distilbert,
    "gemma3": gemma3,
    "gemma3-bidirectional": gemma3_bidirectional,
    "gpt2": gpt2,
    "llama": llama,
    "mistral": mistral,
    "modernbert": modernbert,
    "modernbert-biased": modernbert_biased,
    "mpnet": mpnet,
    "nomic-bert": nomic_bert,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "qwen3-bidirectional": qwen3_bidirectional,
    "roberta": roberta,
    "xlm-roberta": xlm_roberta,
}


def randomised(model: PreTrainedModel) -> PreTrainedModel:
    """Every weight random, biases and norms too, so that none can be forgotten unseen."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.eval()


def keep(name: str) -> None:
    """Make one model, save it, and keep what the reference computes with it."""
    torch.manual_seed(0)
    model = randomised(MODELS[name]())
    lengths = (LONGEST.get(name, LENGTHS[0]), *LENGTHS[1:])
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, model.config.vocab_size, mask.shape)
    ids[mask == 0] = model.config.pad_token_id or 0
    if name in COUNTING:
        ids[0, 2] = model.config.pad_token_id
    with torch.no_grad():
        states = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    np.savez(
        folder / "values.npz",
        allow_pickle=False,
        ids=ids.numpy().astype(np.int32),
        mask=mask.numpy().astype(np.int32),
        hidden=torch.stack(states.hidden_states).numpy(),
        last=states.last_hidden_state.numpy(),
    )


def main() -> None:
    """Remake what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MODELS, []], metavar="name")
    for name in parser.parse_args().names or MODELS:
        keep(name)


if __name__ == "__main__":
    main()
