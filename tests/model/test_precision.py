"""What products may be taken in: every maker of a model asks."""

from pathlib import Path

import jax.numpy as jnp
import pytest

from jaxemb import model
from jaxemb.model import precision

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("dtype", ["int8", "int32", "bool", "complex64", "float64", jnp.int8])
def test_other_types_are_refused_by_name(dtype, as_users_call):
    with pytest.raises(ValueError, match=f"must be one of float32, bfloat16, float16, got {jnp.dtype(dtype).name}"):
        precision.checked(dtype)


def test_what_is_no_type_is_refused(as_users_call):
    for wrong in ("halved", None):
        with pytest.raises(ValueError, match=f"dtype must be one of float32, bfloat16, float16, got {wrong!r}"):
            precision.checked(wrong)


def test_every_model_asks():
    bert, vit = model.load(GOLDEN / "bert" / "new"), model.load_images(GOLDEN / "images" / "vit")
    for make in (
        lambda: model.load(GOLDEN / "bert" / "new", dtype="int8"),
        lambda: model.in_precision(bert, "int8"),
        lambda: model.load_late(GOLDEN / "folders" / "late", dtype="int8"),
        lambda: model.load_images(GOLDEN / "images" / "vit", dtype="int8"),
        lambda: model.images_in_precision(vit, "int8"),
        lambda: model.load_text_images(GOLDEN / "images" / "clip", dtype="int8"),
    ):
        with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, float16, got int8"):
            make()
    assert [model.in_precision(bert, name).dtype.name for name in precision.PRECISIONS] == list(precision.PRECISIONS)
