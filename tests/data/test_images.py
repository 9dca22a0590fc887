"""Images to pixels: the reference's values, modes, sizes, and what is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from jaxemb.data import preprocessing
from jaxemb.data.images import cropped, pixels, shorter_to

Image = pytest.importorskip("PIL.Image")

GOLDEN = Path(__file__).parent.parent / "golden" / "images" / "pixels"
KINDS = sorted(folder.name for folder in GOLDEN.iterdir() if folder.is_dir())
PLAIN = {"do_resize": False, "do_rescale": False, "do_normalize": False}


def read(kind):
    return preprocessing.parse(json.loads((GOLDEN / kind / "preprocessor_config.json").read_text()))


def vit(**told):
    return preprocessing.parse({"image_processor_type": "ViTImageProcessor", **told})


@pytest.fixture(scope="module")
def wanted():
    return dict(np.load(GOLDEN / "values.npz"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_values_of_the_reference(kind, wanted):
    how = read(kind)
    with Image.open(GOLDEN / "image.png") as opened:
        assert opened.mode == "RGBA"
        given = opened.copy() if how.do_convert_rgb else opened.convert("RGB")
    got = pixels(how, [given])[0]
    assert got.dtype == np.float32
    assert preprocessing.sides(how) in (None, got.shape[:2])
    np.testing.assert_array_equal(got[::9, ::9] if kind == "convnext_large" else got, wanted[kind])


def test_a_path_a_pillow_image_and_an_array_are_one(tmp_path):
    how = read("siglip")
    array = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    given = [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(array), array]
    got = pixels(how, given)
    for one in got[1:]:
        np.testing.assert_array_equal(one, got[0])


def test_what_is_transparent_becomes_white_in_every_mode_that_has_it():
    how = vit(do_convert_rgb=True, **PLAIN)
    colour = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)  # 51 is a fifth
    np.testing.assert_array_equal(pixels(how, [colour])[0, 0], [[200, 100, 0], [255, 255, 255], [244, 224, 204]])
    grey = Image.fromarray(colour).convert("LA")
    np.testing.assert_array_equal(pixels(how, [grey])[0, 0, 1], [255] * 3)
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    np.testing.assert_array_equal(pixels(how, [palette])[0, 0], [[10, 20, 30], [40, 50, 60]])
    palette.info["transparency"] = 1
    np.testing.assert_array_equal(pixels(how, [palette])[0, 0], [[10, 20, 30], [255, 255, 255]])


def test_grey_and_black_and_white_become_three_channels_where_the_checkpoint_converts():
    how = vit(do_convert_rgb=True, **PLAIN)
    grey = np.array([[0, 7], [9, 255]], np.uint8)
    for given in (grey, grey[:, :, None], Image.fromarray(grey)):
        np.testing.assert_array_equal(pixels(how, [given])[0], np.repeat(grey[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(pixels(how, [Image.fromarray(grey > 8)])[0, :, :, 1], [[0, 0], [255, 255]])


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "CMYK", "1"])
def test_a_mode_that_the_checkpoint_does_not_convert_is_refused(mode):
    with pytest.raises(
        ValueError, match=f"image 1: wanted mode RGB, which this checkpoint does not convert to, got {mode}"
    ):
        pixels(vit(**PLAIN), [Image.new("RGB", (3, 2)), Image.new(mode, (3, 2))])


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_more_than_8_bits_a_channel_are_refused(mode):
    with pytest.raises(ValueError, match=f"image 0: wanted 8 bits a channel, got mode {mode}"):
        pixels(vit(do_convert_rgb=True), [Image.new(mode, (3, 2))])


def test_a_file_is_turned_as_its_camera_says(tmp_path):
    array = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned to the right
    Image.fromarray(array).save(tmp_path / "turned.png", exif=exif)
    got = pixels(vit(**PLAIN), [tmp_path / "turned.png"])[0]
    np.testing.assert_array_equal(got, np.rot90(array, k=-1))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3, TypeError, "image 5: wanted a path, a Pillow image or an array, got int"),
        (b"png", TypeError, "wanted a path, a Pillow image or an array, got bytes"),
        (np.zeros((4, 4, 3)), ValueError, r"wanted uint8 \[h, w\] or .*got float64 \[4, 4, 3\]"),
        (np.zeros((3, 4, 5), np.uint8), ValueError, r"with 1, 3 or 4 channels, got uint8 \[3, 4, 5\]"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"got uint8 \[0, 4, 3\]"),
        (np.zeros((1, 4, 4, 3), np.uint8), ValueError, r"got uint8 \[1, 4, 4, 3\]"),
        ("nowhere.png", FileNotFoundError, "nowhere.png: no such image file"),
        ("https://example.org/cat.png", FileNotFoundError, "cat.png: no such image file"),
    ],
)
def test_what_is_no_image_is_named(given, error, message):
    with pytest.raises(error, match=message):
        pixels(vit(), [given], first=5)


def test_files_that_hold_no_image_or_half_of_one_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    whole = (GOLDEN / "image.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    for name in ("text.png", "half.png"):
        with pytest.raises(ValueError, match=f"{name}: not a whole image of a kind that Pillow reads"):
            pixels(vit(do_convert_rgb=True), [tmp_path / name])


def test_one_image_is_no_list_of_images(as_users_call):
    for one, kind in (("a.png", "str"), (Path("a.png"), "PosixPath"), (np.zeros((4, 4, 3), np.uint8), "ndarray")):
        with pytest.raises(TypeError, match=f"wanted a list of images, got {kind}"):
            pixels(vit(), one)


def test_images_of_different_sizes_need_a_resize():
    with pytest.raises(ValueError, match="neither resizes nor crops them"):
        pixels(vit(**PLAIN), [np.zeros((2, 3, 3), np.uint8), np.zeros((3, 3, 3), np.uint8)])
    assert pixels(vit(), []).shape == (0, 224, 224, 3)


def test_crops_and_shorter_sides_by_hand():
    row = np.arange(1, 6, dtype=np.uint8).reshape(1, 5, 1)
    assert cropped(row, 1, 3).ravel().tolist() == [2, 3, 4]
    assert cropped(row, 1, 2).ravel().tolist() == [2, 3]
    assert cropped(row, 1, 8).ravel().tolist() == [0, 0, 1, 2, 3, 4, 5, 0]
    assert cropped(row, 2, 5)[:, 0, 0].tolist() == [0, 1]
    assert [shorter_to(10, 30, 47), shorter_to(10, 47, 30), shorter_to(10, 5, 5)] == [(10, 15), (15, 10), (10, 10)]


def test_what_early_files_say_in_other_words():
    early = {"feature_extractor_type": "CLIPFeatureExtractor", "size": 30, "crop_size": 28, "resample": 3}
    how = preprocessing.parse(early)
    assert (how.size, how.crop_size, how.do_rescale, how.do_convert_rgb) == (30, (28, 28), True, True)
    assert preprocessing.parse({"size": 32}, kind="ViTImageProcessor").size == (32, 32)
    convnext = preprocessing.parse({"crop_pct": None, "size": 32}, kind="ConvNextImageProcessor")
    assert (convnext.size, convnext.crop_pct) == (32, 0.875)
    nested = {"image_processor": {**early, "image_processor_type": "CLIPImageProcessorFast"}, "processor_class": "x"}
    assert preprocessing.parse(nested) == how
    assert preprocessing.parse({**early, "do_convert_rgb": None, "do_pad": False, "device": "cpu"}) == how


@pytest.mark.parametrize("kind", KINDS)
def test_described_parses_to_itself(kind):
    how = read(kind)
    assert preprocessing.parse(json.loads(json.dumps(preprocessing.describe(how)))) == how


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"surprise": 1}, r"ViTImageProcessor: unknown keys \['surprise'\]; known are"),
        ({"crop_pct": 0.9}, r"unknown keys \['crop_pct'\]"),  # ConvNeXT's alone
        ({"image_processor_type": "OwlImageProcessor"}, "must be one of .*, got 'OwlImageProcessor'"),
        ({"do_pad": True}, "do_pad must be False, got True"),
        ({"resample": 7}, "resample must be the number of one of Pillow's filters, 0 to 5, got 7"),
        ({"size": {"longest_edge": 3}}, "size must be a height and a width above 0, got {'longest_edge': 3}"),
        ({"size": {"height": 3, "width": 0}}, "size must be a height and a width above 0"),
        ({"do_center_crop": True}, "do_center_crop needs a crop_size, got none"),
        ({"image_mean": [0.5]}, "image_mean must be three numbers"),
        ({"image_std": [0.5, 0, 1]}, "image_std must be three numbers, of which none divides by 0"),
        ({"image_processor_type": "ConvNextImageProcessor", "size": {"height": 3, "width": 3}}, "shortest_edge alone"),
    ],
)
def test_settings_of_other_processors_are_refused(told, message):
    with pytest.raises(ValueError, match=message):
        vit(**told)


def test_a_value_of_another_type_is_named(as_users_call):
    with pytest.raises(ValueError, match="do_resize must be true or false, got 'yes'"):
        vit(do_resize="yes")
    with pytest.raises(ValueError, match=r"image_processor_type must be one of .*, got None"):
        preprocessing.parse({"size": 3})


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"rescale_factor": "1"}, "rescale_factor must be a finite number, got '1'"),
        ({"rescale_factor": float("nan")}, "rescale_factor must be a finite number, got nan"),
        ({"image_mean": [0.5, 0.5, float("inf")]}, "image_mean must be a finite number, got inf"),
        ({"image_mean": True}, "image_mean must be a finite number, got True"),
        ({"image_std": ["a", 1, 1]}, "image_std must be a finite number, got 'a'"),
        ({"size": True}, "size must be a height and a width above 0, got True"),
        ({"size": {"shortest_edge": True}}, "size must be a height and a width above 0, got True"),
        ({"size": [True, 8]}, r"size must be a height and a width above 0, got \[True, 8\]"),
        ({"resample": True}, "resample must be the number of one of Pillow's filters, 0 to 5, got True"),
    ],
)
def test_what_is_no_number_is_refused(told, message):
    with pytest.raises(ValueError, match=f"ViTImageProcessor: {message}"):
        vit(**told)


def test_an_image_without_pixels_is_named():
    with pytest.raises(ValueError, match="image 1: wanted an image of 1 pixel or more a side, got 0 x 4"):
        pixels(vit(), [Image.new("RGB", (4, 4)), Image.new("RGB", (0, 4))])
