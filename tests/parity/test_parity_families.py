"""Every family, written here: transformers reads the folder and computes the same states at every layer."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import torch
from transformers import AutoModel

from jaxemb import checkpoint, encode

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("default")]

GOLDEN = Path(__file__).parent.parent / "golden" / "families"


@pytest.mark.parametrize("name", sorted(folder.name for folder in GOLDEN.iterdir()))
def test_what_we_describe_and_write_is_the_same_model_there(name, tmp_path):
    raw = json.loads((GOLDEN / name / "config.json").read_text())
    family = encode.family_named(raw["model_type"])
    config, tensors = family.parse(raw), checkpoint.read_tensors(GOLDEN / name / "model.safetensors")
    like = jax.eval_shape(family.backbone(config).init, jax.random.key(0))
    params = checkpoint.from_foreign(tensors, family.keys(config), like, unused=family.unused)
    (tmp_path / "config.json").write_text(json.dumps(family.describe(config)))
    checkpoint.write_tensors(checkpoint.to_foreign(params, family.keys(config)), tmp_path / "model.safetensors")

    there, told = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["unexpected_keys"]
    assert set(told["missing_keys"]) <= set(family.unused)
    assert type(there).__name__ == raw["architectures"][0]
    values = np.load(GOLDEN / name / "values.npz")
    ids, mask = (torch.from_numpy(values[key]).long() for key in ("ids", "mask"))
    with torch.no_grad():
        got = there.eval()(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    kept = values["mask"].astype(bool)
    hidden = torch.stack(got.hidden_states).numpy()
    np.testing.assert_allclose(hidden[:, kept], values["hidden"][:, kept], atol=1e-6)
    np.testing.assert_allclose(got.last_hidden_state.numpy()[kept], values["last"][kept], atol=1e-6)
