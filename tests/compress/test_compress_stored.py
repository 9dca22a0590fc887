import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemb import compress


@pytest.mark.parametrize(
    "name",
    [
        "float32",
        "truncate-3",
        "int8",
        "int8-0.01",
        "bits",
        "bits-0.0",
        "bits--0.5",
        "bits-1e20",
        "hamming",
        "hamming--0.5",
        "truncate-3+int8",
    ],
)
def test_a_name_gives_its_compressor(name):
    assert compress.by_name(name).name == name


def test_settings_reach_the_compressor():
    assert compress.by_name("truncate-7").bytes_per_vector(9) == 28
    np.testing.assert_array_equal(compress.by_name("bits--0.5").fit(jnp.ones((2, 3)))["threshold"], [-0.5] * 3)


@pytest.mark.parametrize("name", ["", "int5", "truncate", "float32-2", "+", "int8+", "INT8", "truncate64"])
def test_an_unknown_name_lists_what_exists(name):
    with pytest.raises(ValueError, match=r"no compressor .*float32, truncate-<size>, .*int8, .*bits.*joined by \+"):
        compress.by_name(name)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("truncate-many", "truncate-<size>"),
        ("truncate-0", "truncate-<size>"),
        ("int8-2", "int8-<share outside the range>"),
        ("bits-nan", "bits-<threshold>"),
    ],
)
def test_a_wrong_setting_names_the_form(name, form):
    with pytest.raises(ValueError, match=f"compressor '{name}': wanted the form {form}"):
        compress.by_name(name)


def test_format_from_the_future(tmp_path):
    short = compress.int8()
    compress.save(tmp_path / "c", short, short.fit(jnp.ones((1, 2))))
    (tmp_path / "c" / "compressor.json").write_text(json.dumps({"format": 2, "name": "int8"}))
    with pytest.raises(ValueError, match="wanted compressor format 1, got 2"):
        compress.load(tmp_path / "c")
