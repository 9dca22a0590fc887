"""What every parser of a `config.json` does with values of another kind, and with what old releases wrote."""

import pytest

from jaxemb import encode

LIKE = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", None),
        ("hidden_size", "8"),
        ("hidden_size", 8.0),
        ("hidden_size", True),
        ("num_attention_heads", 0),
        ("num_hidden_layers", -1),
        ("type_vocab_size", -1),
        ("layer_norm_eps", "1e-12"),
        ("layer_norm_eps", float("nan")),
        ("layer_norm_eps", True),
        ("hidden_act", None),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(key, value):
    with pytest.raises(ValueError, match=rf"bert config: {key} must be [a-z0-9 ]+, got {value!r}"):
        encode.family_named("bert").parse({**LIKE, key: value})


def test_a_flag_is_true_or_false():
    with pytest.raises(ValueError, match="llama config: mlp_bias must be true or false, got 0"):
        encode.family_named("llama").parse({"mlp_bias": 0})


def test_what_is_of_the_kind_is_read():
    assert encode.family_named("bert").parse({**LIKE, "type_vocab_size": 0, "layer_norm_eps": 1}).layer_norm_eps == 1.0


@pytest.mark.parametrize("family", encode.FAMILIES, ids=lambda family: family.names[0])
def test_what_old_releases_wrote_for_every_architecture_is_read_and_checked(family):
    told = family.describe(family.parse({"model_type": family.names[0]}))
    old = {"pruned_heads": {}, "is_encoder_decoder": False, "num_labels": 2, "use_bfloat16": False, "xla_device": True}
    assert family.parse({**told, **old}) == family.parse(told)
    with pytest.raises(ValueError, match=r"pruned_heads must be \{\}, got \{'0': \[1\]\}"):
        family.parse({**told, "pruned_heads": {"0": [1]}})
