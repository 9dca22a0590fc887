"""What single architectures of images do, by hand, and which shapes they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import encode
from jaxemb.encode import image
from jaxemb.encode.functional import functional
from jaxemb.encode.image import convolution, efficientnet, pairs, patches
from jaxemb.encode.image.clip import ends
from jaxemb.encode.image.siglip import filled
from jaxemb.types import Tokens

F32 = jnp.dtype("float32")
VISION = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 6}


def tokens(*rows, length=6):
    ids = np.zeros((len(rows), length), np.int32)
    mask = np.zeros((len(rows), length), np.int32)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return Tokens(ids, mask)


def fresh(tower):
    """Params that are all random, and large enough that attention is not even."""
    draw = np.random.default_rng(0)
    shapes = jax.eval_shape(tower.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: draw.normal(size=leaf.shape).astype(np.float32), shapes)


def test_patches_are_read_row_by_row_and_what_is_left_over_is_not():
    shape = image.ViTConfig(**VISION, image_size=5, patch_size=2, num_channels=1)
    made = functional(
        lambda rngs: patches.Embeddings(shape, first=None, places=(4, 4), bias=False, dtype=F32, rngs=rngs)
    )
    params = {"kernel": jnp.eye(4).reshape(2, 2, 1, 4), "places": jnp.zeros((4, 4))}
    pixels = jnp.arange(25.0).reshape(1, 5, 5, 1)
    wanted = [[[0, 1, 5, 6], [2, 3, 7, 8], [10, 11, 15, 16], [12, 13, 17, 18]]]
    np.testing.assert_array_equal(made.apply(params, "__call__", pixels), wanted)
    edge = pixels.at[:, 4].set(99).at[:, :, 4].set(99)
    np.testing.assert_array_equal(made.apply(params, "__call__", edge), wanted)


def test_a_norm_of_running_statistics_by_hand():
    made = functional(lambda rngs: convolution.BatchNorm(2, epsilon=0.5))
    params = {
        "scale": jnp.array([2.0, 3.0]),
        "bias": jnp.array([10.0, 20.0]),
        "mean": jnp.array([1.0, -1.0]),
        "variance": jnp.array([3.5, 0.5]),
    }
    got = made.apply(params, "__call__", jnp.array([5.0, 1.0]).reshape(1, 1, 1, 2))
    np.testing.assert_allclose(got.ravel(), [10 + 2 * 4 / 2, 20 + 3 * 2 / 1], rtol=1e-6)
    gradient = jax.grad(lambda p: made.apply(p, "__call__", jnp.ones((1, 2, 2, 2))).sum())(params)
    assert {name for name, leaf in gradient.items() if not leaf.any()} == set(image.STATISTICS)


@pytest.mark.parametrize(("padding", "wanted"), [("SAME", [[45, 39], [66, 50]]), (None, [[10, 24], [51, 90]])])
def test_zeros_stand_where_each_library_puts_them(padding, wanted):
    """Sums over 3 x 3 of 0 to 15 at stride 2: TensorFlow puts its zeros below and to the right, torch on all sides."""
    made = functional(lambda rngs: convolution.Conv(1, 1, side=3, stride=2, padding=padding, dtype=F32, rngs=rngs))
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    got = made.apply({"kernel": jnp.ones((3, 3, 1, 1))}, "__call__", x)
    np.testing.assert_array_equal(got[0, :, :, 0], wanted)


@pytest.mark.parametrize(
    ("eos", "wanted"),
    [
        (7, [2, 1, 0]),  # the first of its id; none at all: the first token, as in the reference
        (2, [3, 2, 1]),  # the largest id, of the first if it is there twice
    ],
)
def test_where_a_text_of_clip_ends(eos, wanted):
    texts = tokens([3, 4, 7, 9], [3, 7, 8, 7], [3, 5, 2])
    # Padding is larger than every id, and never counts.
    texts = Tokens(np.where(texts.mask > 0, texts.ids, 50), texts.mask)
    assert ends(texts, eos).tolist() == wanted


def test_a_text_of_siglip_is_filled_up_and_read_whole():
    got = filled(tokens([3, 4], [5], length=3), 5, 9)
    np.testing.assert_array_equal(got.ids, [[3, 4, 9, 9, 9], [5, 9, 9, 9, 9]])
    assert np.asarray(got.mask).all()
    with pytest.raises(ValueError, match="3 tokens a text, but only 2 positions"):
        filled(tokens([3], length=3), 2, 9)


def test_what_fills_a_text_of_siglip_is_read_and_what_stands_in_the_padding_is_not():
    shape = image.SiglipTextConfig(**VISION, vocab_size=12, max_position_embeddings=8, pad_token_id=1)
    tower = image.siglip_text(shape)
    params = fresh(tower)
    texts = tokens([3, 4, 2])
    other = Tokens(np.where(texts.mask > 0, texts.ids, 7), texts.mask)
    apply = jax.jit(tower.apply)
    got = apply(params, texts)
    np.testing.assert_array_equal(got, apply(params, other))
    filled_otherwise = image.siglip_text(image.SiglipTextConfig(**{**vars(shape), "pad_token_id": 5}))
    assert not np.allclose(got, jax.jit(filled_otherwise.apply)(params, texts))


def test_a_text_of_clip_is_read_in_one_direction_and_one_of_siglip_in_both():
    shared = {**VISION, "vocab_size": 12, "max_position_embeddings": 6}
    one, other = tokens([3, 4, 5, 7]), tokens([3, 4, 6, 7])
    for tower, causal in (
        (image.clip_text(image.ClipTextConfig(**shared, eos_token_id=7, projection_dim=4)), True),
        (image.siglip_text(image.SiglipTextConfig(**shared)), False),
    ):
        params = fresh(tower)
        hidden = jax.jit(tower.hidden)
        changed = np.asarray(hidden(params, one)) != np.asarray(hidden(params, other))
        assert changed[-1, 0, :2].any() != causal


def test_a_batch_longer_than_the_positions_is_refused():
    made = functional(lambda rngs: pairs.TextEmbeddings(9, 4, 5, scale=1.0, rngs=rngs))
    params = made.init(jax.random.key(0))
    with pytest.raises(ValueError, match="6 tokens a text, but only 5 positions"):
        made.apply(params, "__call__", tokens([1]))


def test_stages_of_the_lite_networks():
    lite0 = efficientnet.stages(image.EfficientNetLiteConfig())
    assert [(s.blocks, s.inputs, s.outputs, s.at) for s in lite0] == [
        (1, 32, 16, 0), (2, 16, 24, 1), (2, 24, 40, 3), (3, 40, 80, 5), (3, 80, 112, 8), (4, 112, 192, 11),
        (1, 192, 320, 15),
    ]  # fmt: skip
    lite4 = efficientnet.stages(image.EfficientNetLiteConfig(width_coefficient=1.4, depth_coefficient=1.8))
    assert [s.blocks for s in lite4] == [1, 4, 4, 6, 6, 8, 1]
    assert [s.outputs for s in lite4] == [24, 32, 56, 112, 160, 272, 448]
    assert lite4[0].inputs == 32  # the stem keeps its width


def test_resnet_50_and_18_have_the_papers_sizes():
    def size(shape):
        made = jax.eval_shape(image.resnet(shape).init, jax.random.key(0))
        return sum(leaf.size for path, leaf in jax.tree.leaves_with_path(made) if path[-1].key not in image.STATISTICS)

    assert size(image.ResNetConfig()) == 25_557_032 - (2048 * 1000 + 1000)  # torchvision's count, less its classifier
    basic = image.ResNetConfig(hidden_sizes=(64, 128, 256, 512), depths=(2, 2, 2, 2), layer_type="basic")
    assert size(basic) == 11_689_512 - (512 * 1000 + 1000)


def test_the_words_between_towers_and_other_encoders():
    """A tower is an encoder: what takes one takes the other."""
    tower = image.vit(image.ViTConfig(**VISION, image_size=4, patch_size=2))
    encoder = encode.normalized(tower.encoder)
    vectors = jax.jit(encoder.apply)(fresh(tower), jnp.ones((2, 4, 4, 3)))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_towers_and_families_by_shape():
    assert image.tower_of(image.ViTConfig(**VISION, image_size=4, patch_size=2)).init is not None
    with pytest.raises(TypeError, match="ClipConfig is the shape of no tower"):
        image.tower_of(image.ClipConfig())
    with pytest.raises(TypeError, match="ClipTextConfig is the shape of no image family"):
        image.image_family_of(image.ClipTextConfig())
    with pytest.raises(
        ValueError, match="'owl' reads no images; there is clip, efficientnet-lite, resnet, siglip, vit"
    ):
        image.image_family_named("owl")


@pytest.mark.parametrize(
    ("name", "told", "message"),
    [
        ("vit", {"model_type": "bert"}, r"model_type must be one of \['vit'\], got 'bert'"),
        ("vit", {"image_size": [8, 8]}, r"image_size must be 1 or more, got \[8, 8\]"),
        ("vit", {"patch_size": 300}, "patch_size must be from 1 to image_size 224, got 300"),
        ("vit", {"num_attention_heads": 7}, "hidden_size 768 is no multiple of 7 heads"),
        ("vit", {"hidden_act": "swish"}, "hidden_act 'swish' is unknown; there is gelu"),
        ("resnet", {"layer_type": "wide"}, "layer_type must be 'basic' or 'bottleneck', got 'wide'"),
        ("resnet", {"depths": [1, 2]}, r"wanted a depth of 1 or more for each of .*, got \(1, 2\)"),
        ("efficientnet-lite", {"hidden_act": "swish"}, "hidden_act must be 'relu6', got 'swish'"),
        ("clip", {"text_config": {"eos_token_id": [1, 2]}}, r"eos_token_id must be 0 or more, got \[1, 2\]"),
        ("clip", {"text_config": {"is_decoder": True}}, "is_decoder must be False, got True"),
        ("clip", {"text_config": [1]}, r"text_config must be a mapping, got \[1\]"),
        ("clip", {"vision_config": {"model_type": "dinov2"}}, "must be one of .*clip_vision_model.*, got 'dinov2'"),
        ("siglip", {"vision_config": {"vision_use_head": False}}, "vision_use_head must be True, got False"),
        ("siglip", {"text_config_dict": {"hidden_size": 16}}, r"unknown keys \['text_config_dict'\]"),  # CLIP's alone
        ("siglip", {"text_config": {"projection_size": 5}}, "vectors of one size, got 5 for texts and 768"),
    ],
)
def test_other_shapes_are_refused_by_the_key_that_says_so(name, told, message, as_users_call):
    with pytest.raises(ValueError, match=message):
        image.image_family_named(name).parse(told)


def test_keys_of_older_folders_are_understood():
    old = {
        "model_type": "clip",
        "projection_dim": 8,
        "text_config": {"hidden_size": 24, "eos_token_id": 2, "dropout": 0.0, "projection_dim": 512},
        "text_config_dict": {"hidden_size": 16, "pruned_heads": {}},  # which there stands in for the other
        "vision_config": {"hidden_size": 24, "use_bfloat16": False},
        "vision_config_dict": None,
    }
    got = image.image_family_named("clip").parse(old)
    assert (got.text_config.hidden_size, got.text_config.eos_token_id, got.vision_config.hidden_size) == (16, 49407, 24)
    assert got.size == got.text_config.projection_dim == got.vision_config.projection_dim == 8
