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


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": bert,
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
    longest = max(LENGTHS)
    mask = (torch.arange(longest)[None] < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(5, model.config.vocab_size, mask.shape)
    ids[mask == 0] = model.config.pad_token_id or 0
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
