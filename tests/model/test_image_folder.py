"""Image encoders in folders: the reference's vectors, folders in and out, pairs, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import checkpoint, data, model, similarity
from jaxemb.types import Tokens

GOLDEN = Path(__file__).parent.parent / "golden" / "images"


@pytest.fixture(scope="module")
def vit():
    return model.load_images(GOLDEN / "vit")


@pytest.fixture(scope="module", params=["clip", "siglip"])
def pair(request):
    return request.param, model.load_text_images(GOLDEN / request.param)


def drawn(count: int) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, size=(20 + i, 30, 3), dtype=np.uint8) for i in range(count)]


def assert_same(params, others):
    ours, theirs = checkpoint.leaves(params), checkpoint.leaves(others)
    assert ours.keys() == theirs.keys()
    for path, leaf in ours.items():
        np.testing.assert_array_equal(leaf, theirs[path], err_msg=path)


def test_one_tower_gives_the_reference_vectors(vit):
    values = np.load(GOLDEN / "vit" / "values.npz")
    np.testing.assert_allclose(
        vit.encoder.apply(vit.params, jnp.asarray(values["pixels"])), values["vector"], atol=1e-5
    )
    assert vit.size == values["vector"].shape[1]


def test_a_pair_gives_unit_vectors_in_the_reference_s_directions(pair):
    name, loaded = pair
    values = np.load(GOLDEN / name / "values.npz")
    tokens = Tokens(jnp.asarray(values["ids"]), jnp.asarray(values["mask"]))
    texts = loaded.text.encoder.apply(loaded.text.params, tokens)
    images = loaded.image.encoder.apply(loaded.image.params, jnp.asarray(values["pixels"]))
    np.testing.assert_allclose(texts, similarity.unit(jnp.asarray(values["text_vector"])), atol=1e-5)
    np.testing.assert_allclose(images, similarity.unit(jnp.asarray(values["vector"])), atol=1e-5)
    np.testing.assert_allclose(loaded.logits(texts, images), values["logits"], atol=1e-4)


def test_saved_and_loaded_is_the_same_encoder(vit, tmp_path):
    model.save_images(vit, tmp_path / "m")
    again = model.load_images(tmp_path / "m")
    assert (again.spec, again.preprocessing) == (vit.spec, vit.preprocessing)
    assert_same(again.params, vit.params)
    model.save_images(vit, tmp_path / "m")  # which replaces it


def test_saved_and_loaded_is_the_same_pair(pair, tmp_path):
    _, loaded = pair
    model.save_text_images(loaded, tmp_path / "m")
    again = model.load_text_images(tmp_path / "m")
    assert (again.config, again.text.spec, again.image.spec) == (loaded.config, loaded.text.spec, loaded.image.spec)
    assert again.image.preprocessing == loaded.image.preprocessing
    assert_same(
        {"a": again.text.params, "b": again.image.params, "c": again.constants},
        {"a": loaded.text.params, "b": loaded.image.params, "c": loaded.constants},
    )


def test_images_in_any_number_keep_their_order(vit):
    images = drawn(18)  # more than are read at once
    together = model.encode_images(vit, iter(images))
    np.testing.assert_allclose(model.encode_images(vit, images[16:]), together[16:], atol=2e-6)
    by_hand = vit.encoder.apply(vit.params, jnp.asarray(data.images.pixels(vit.preprocessing, images[:1])))
    np.testing.assert_allclose(together[:1], by_hand, atol=2e-6)
    assert model.encode_images(vit, []).shape == (0, vit.size)


def test_a_bfloat16_encoder_keeps_direction(vit):
    half = model.images_in_precision(vit, "bfloat16")
    rough, fine = model.encode_images(half, drawn(1)), model.encode_images(vit, drawn(1))
    assert (rough * fine).sum() > 0.999 * np.linalg.norm(rough) * np.linalg.norm(fine)
    assert not np.allclose(rough, fine, atol=1e-7)


def test_bad_images_are_named_by_their_place(vit, as_users_call):
    with pytest.raises(TypeError, match=r"wanted a list of images, got one path, 'owl\.png'"):
        model.encode_images(vit, "owl.png")
    wide = np.zeros((4, 4), np.uint16)
    with pytest.raises(ValueError, match=r"image 17: wanted uint8 .* got uint16 \[4, 4\]"):
        model.encode_images(vit, [*drawn(17), wide])
    grey = replace(vit.preprocessing, do_convert_rgb=False)
    with pytest.raises(ValueError, match="image 0: wanted mode RGB, which this checkpoint does not convert to, got L"):
        model.encode_images(vit._replace(preprocessing=grey), [np.zeros((4, 4), np.uint8)])
    broken = vit._replace(params=jax.tree.map(lambda leaf: leaf * np.nan, vit.params))
    with pytest.raises(FloatingPointError, match="the vector of image 0 is not finite"):
        model.encode_images(broken, drawn(1))


def test_one_tower_and_two_are_told_apart():
    with pytest.raises(ValueError, match="a pair of towers, clip; read it with load_text_images"):
        model.load_images(GOLDEN / "clip")
    with pytest.raises(ValueError, match="holds one tower, vit; read it with load_images"):
        model.load_text_images(GOLDEN / "vit")


def test_what_is_done_to_images_must_be_there_and_fit(tmp_path):
    shutil.copytree(GOLDEN / "vit", tmp_path / "m")
    file = tmp_path / "m" / "preprocessor_config.json"
    told = json.loads(file.read_text())
    for change, message in (
        ({"surprise": 1}, r"preprocessor_config\.json: ViTImageProcessor: unknown keys \['surprise'\]"),
        ({"size": 99, "do_center_crop": False}, r"the encoder reads images of \d+ x \d+, the preprocessing makes them"),
    ):
        file.write_text(json.dumps({**told, **change}))
        with pytest.raises(ValueError, match=message):
            model.load_images(tmp_path / "m")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"preprocessor_config\.json: no such file; it says what is done to im"):
        model.load_images(tmp_path / "m")


def test_a_folder_of_sentence_transformers_around_a_pair(tmp_path):
    place = tmp_path / "m"
    shutil.copytree(GOLDEN / "clip", place / "0_CLIPModel")
    row = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    (place / "modules.json").write_text(json.dumps([row]))
    assert_same(model.load_text_images(place).text.params, model.load_text_images(GOLDEN / "clip").text.params)
    (place / "modules.json").write_text(json.dumps([row, {**row, "idx": 1, "type": "sentence_transformers.x.Dense"}]))
    with pytest.raises(ValueError, match=r"wanted CLIPModel or Transformer, .* got \['CLIPModel', 'Dense'\]"):
        model.load_text_images(place)


def test_a_padding_that_is_no_token_is_named(tmp_path):
    shutil.copytree(GOLDEN / "siglip", tmp_path / "m")
    file = tmp_path / "m" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pad_token": "[OWL]"}))
    with pytest.raises(ValueError, match=r"texts are filled up with '\[OWL\]', which is no token of the tokenizer"):
        model.load_text_images(tmp_path / "m")


def test_someone_elses_folder_is_never_replaced(vit, tmp_path):
    (tmp_path / "config.json").write_text("{}")  # as many a program keeps one
    with pytest.raises(FileExistsError, match=r"a folder with preprocessor_config\.json, got one with \['config.json'"):
        model.save_images(vit, tmp_path)
    assert (tmp_path / "config.json").read_text() == "{}"


def test_a_pair_and_a_single_tower_never_replace_each_other(vit, pair, tmp_path):
    name, loaded = pair
    for kind, save, ours, message in (
        (name, model.save_images, vit, f"a folder of the same kind, got a pair of towers, {name}"),
        ("vit", model.save_text_images, loaded, "a folder of the same kind, got one tower, vit"),
    ):
        there = shutil.copytree(GOLDEN / kind, tmp_path / kind)
        with pytest.raises(FileExistsError, match=message):
            save(ours, there)
        assert sorted(file.name for file in there.iterdir()) == sorted(file.name for file in (GOLDEN / kind).iterdir())


def test_one_image_is_no_list_of_images(vit, as_users_call):
    pillow, image = pytest.importorskip("PIL.Image"), drawn(1)[0]
    for one, kind in ((image, "ndarray"), (image[:, :, 0], "ndarray"), (pillow.fromarray(image), "Image")):
        with pytest.raises(TypeError, match=f"encode_images: wanted a list of images, got one {kind}"):
            model.encode_images(vit, one)
    np.testing.assert_array_equal(model.encode_images(vit, image[None]), model.encode_images(vit, [image]))
