"""Remake tests/golden/images: tiny random image encoders, and what the reference libraries compute with them.

Needs torch, transformers and Pillow (the extra `parity`), and for `efficientnet-lite` the package
`efficientnet-lite-pytorch` 0.1.0; run from the repository's root, for all or for some:

    python tools/golden_images.py [name ...]

Writes, under tests/golden/images/<name>: the folder as transformers saves it, and `values.npz` with pixels, the states
of every layer and the vectors; for a pair of towers also token ids, mask and logits.  Under `pixels`: an image, and
what each kind of image processor makes of it.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

HERE = Path(__file__).parent.parent / "tests" / "golden" / "images"
WORDS = 24  # ids 0 to 4 are special
LENGTHS = (9, 5, 3, 7)
TEXT = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
VISION = {**TEXT, "hidden_size": 20, "num_attention_heads": 5, "num_hidden_layers": 2}
IMAGE = {"image_size": 14, "patch_size": 4}  # three patches a side, and two pixels that no patch reads
SCALED = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.3, 0.25, 0.2]}


class Made(NamedTuple):
    model: Any
    processor: Any
    tokenizer: Any = None


def tokenizer(eos: int, pad: int, positions: int) -> Any:
    """Words `a` to `s` between a start and an end."""
    special = ["<start>", "<pad>", "<end>", "<unk>", "<last>"]
    words = [*special, *"abcdefghijklmnopqrs"]
    words[eos], words[words.index("<end>")] = "<end>", words[eos]
    words[pad], words[words.index("<pad>")] = "<pad>", words[pad]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = [(word, words.index(word)) for word in ("<start>", "<end>")]
    backend.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=marks)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=positions,
    )


def vit() -> Made:
    config = transformers.ViTConfig(**VISION, **IMAGE)
    return Made(transformers.ViTModel(config), ViTImageProcessorPil(size={"height": 14, "width": 14}, **SCALED))


def vit_classifier() -> Made:
    config = transformers.ViTConfig(**VISION, **IMAGE, qkv_bias=False, hidden_act="gelu_new")
    return Made(transformers.ViTForImageClassification(config), ViTImageProcessorPil(size={"height": 14, "width": 14}))


def resnet() -> Made:
    config = transformers.ResNetConfig(
        embedding_size=6, hidden_sizes=[8, 16], depths=[3, 2], downsample_in_first_stage=True, hidden_act="silu"
    )
    return Made(transformers.ResNetModel(config), ConvNextImageProcessorPil(size={"shortest_edge": 14}, **SCALED))


def resnet_basic() -> Made:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16], depths=[2, 1, 2], layer_type="basic")
    return Made(
        transformers.ResNetForImageClassification(config), ConvNextImageProcessorPil(size={"shortest_edge": 14})
    )


def resnet_early() -> Made:
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], downsample_in_bottleneck=True
    )
    return Made(transformers.ResNetModel(config), ConvNextImageProcessorPil(size={"shortest_edge": 14}))


def _clip(eos: int, pad: int, act: str) -> Made:
    text = {**TEXT, "vocab_size": WORDS, "max_position_embeddings": 12, "eos_token_id": eos, "pad_token_id": pad}
    config = transformers.CLIPConfig(
        text_config={**text, "bos_token_id": 0, "hidden_act": act},
        vision_config={**VISION, **IMAGE, "hidden_act": act},
        projection_dim=8,
    )
    processor = CLIPImageProcessorPil(size={"shortest_edge": 14}, crop_size={"height": 14, "width": 14})
    last = WORDS - 1 if eos == 2 else eos  # in old folders the end is the largest id, whatever the config says
    return Made(transformers.CLIPModel(config), processor, tokenizer(last, pad, 12))


def clip() -> Made:
    return _clip(eos=2, pad=1, act="quick_gelu")


def clip_eos() -> Made:
    return _clip(eos=7, pad=21, act="gelu")


def siglip() -> Made:
    text = {**TEXT, "vocab_size": WORDS, "max_position_embeddings": 12, "pad_token_id": 1, "projection_size": 20}
    config = transformers.SiglipConfig(text_config=text, vision_config={**VISION, **IMAGE})
    processor = SiglipImageProcessorPil(size={"height": 14, "width": 14})
    return Made(transformers.SiglipModel(config), processor, tokenizer(2, 1, 12))


MODELS: dict[str, Callable[[], Made]] = {
    "clip": clip,
    "clip_eos": clip_eos,
    "resnet": resnet,
    "resnet_basic": resnet_basic,
    "resnet_early": resnet_early,
    "siglip": siglip,
    "vit": vit,
    "vit_classifier": vit_classifier,
}


def randomised(model: Any, pixels: torch.Tensor | None = None, noise: float = 0.2) -> Any:
    """Every weight random, so that none can be forgotten unseen; statistics near those of `pixels`, if given."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(noise * torch.randn_like(weight))
        if pixels is not None:
            norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
            for norm in norms:
                norm.momentum = 1.0
            model.train()(pixels)
            for norm in norms:
                norm.running_mean.add_(0.2 * torch.randn_like(norm.running_mean))
                norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4))
    return model.eval()


def channels_last(maps: torch.Tensor) -> np.ndarray:
    return maps.permute(0, 2, 3, 1).contiguous().numpy()


def images(side: int, *, b: int = 4) -> torch.Tensor:
    return torch.randn(b, 3, side, side)


def of_image(model: Any, pixels: torch.Tensor) -> dict[str, np.ndarray]:
    """States and vectors of a model that reads images alone."""
    body = getattr(model, model.base_model_prefix, model)
    out = body(pixel_values=pixels, output_hidden_states=True)
    values = {"pixels": channels_last(pixels)}
    if model.config.model_type == "vit":
        hidden = [*out.hidden_states[:-1], out.last_hidden_state]
        return values | {"vector": out.last_hidden_state[:, 0].numpy()} | states("hidden", hidden)
    maps = [maps.permute(0, 2, 3, 1) for maps in out.hidden_states]
    return values | {"vector": out.pooler_output.flatten(1).numpy()} | states("hidden", maps)


def states(name: str, layers: Any) -> dict[str, np.ndarray]:
    return {f"{name}_{i}": layer.contiguous().numpy() for i, layer in enumerate(layers)}


def of_pair(made: Made, pixels: torch.Tensor) -> dict[str, np.ndarray]:
    """States, vectors and logits of two towers."""
    model, text = made.model, made.model.config.text_config
    longest, siglip = max(LENGTHS), made.model.config.model_type == "siglip"
    mask = (torch.arange(longest)[None] < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(3, WORDS - 1, mask.shape)
    ends = (torch.arange(longest)[None] == torch.tensor(LENGTHS)[:, None] - 1).long()
    ids = torch.where((ids == made.tokenizer.eos_token_id) & (ends == 0), 5, ids)
    ids = torch.where(ends == 1, made.tokenizer.eos_token_id, ids)
    ids = torch.where(mask == 0, text.pad_token_id, ids)
    if siglip:  # as it was trained: filled up, and no mask
        rest = torch.full((len(LENGTHS), text.max_position_embeddings - longest), text.pad_token_id)
        given = {"input_ids": torch.cat([ids, rest], dim=1)}
    else:
        given = {"input_ids": ids, "attention_mask": mask}
    out = model(**given, pixel_values=pixels)
    told = model.text_model(**given, output_hidden_states=True)
    seen = model.vision_model(pixel_values=pixels, output_hidden_states=True)
    return {
        "pixels": channels_last(pixels),
        "ids": ids.numpy().astype(np.int32),
        "mask": mask.numpy().astype(np.int32),
        "text_vector": model.get_text_features(**given).pooler_output.numpy(),
        "vector": model.get_image_features(pixel_values=pixels).pooler_output.numpy(),
        "logits": out.logits_per_text.numpy(),
        **states("text_hidden", [*told.hidden_states[:-1], told.last_hidden_state]),
        **states("hidden", [*seen.hidden_states[:-1], seen.last_hidden_state]),
    }


def keep(name: str) -> None:
    """Make one model, save it, and keep what the reference computes with it."""
    torch.manual_seed(0)
    made = MODELS[name]()
    maps = made.model.config.model_type == "resnet"
    pixels = images(33 if maps else 14)
    randomised(made.model, pixels if maps else None)
    with torch.no_grad():
        values = of_pair(made, pixels) if made.tokenizer is not None else of_image(made.model, pixels)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    made.model.save_pretrained(folder)
    made.processor.save_pretrained(folder)
    if made.tokenizer is not None:
        made.tokenizer.save_pretrained(folder)
    np.savez(folder / "values.npz", allow_pickle=False, **values)


def efficientnet_lite() -> None:
    """The same for EfficientNet-Lite, which is of another library; narrow, and saved in float16."""
    from efficientnet_lite_pytorch import EfficientNet

    torch.manual_seed(0)
    shape = {"width_coefficient": 0.08, "depth_coefficient": 0.33, "image_size": 25}
    pixels, maps = images(25, b=2), {}
    override = {"num_classes": 2, "drop_connect_rate": 0.0}
    model = randomised(EfficientNet.from_name("efficientnet-lite0", **shape, **override), images(25, b=64), noise=0.02)
    model = model.half().float()
    starts = [0, 1, 2, 3, 4, 5, 7, 8]  # the first block of every stage, and how many there are

    def watch(name: str) -> Callable[..., None]:
        return lambda module, given, out: maps.update({name: out.permute(0, 2, 3, 1)})

    assert len(model._blocks) == starts[-1], len(model._blocks)
    for i, end in enumerate(starts[1:]):
        model._blocks[end - 1].register_forward_hook(watch(f"hidden_{i + 1}"))
    model._blocks[0].register_forward_pre_hook(
        lambda module, given: maps.update({"hidden_0": given[0].permute(0, 2, 3, 1)})
    )
    with torch.no_grad():
        maps["hidden_8"] = model.extract_features(pixels).permute(0, 2, 3, 1)
    folder = HERE / "efficientnet-lite"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tensors = {name: tensor.contiguous() for name, tensor in model.half().state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "model_type": "efficientnet-lite",
        "num_channels": 3,
        "hidden_dim": 1280,
        "batch_norm_eps": 0.001,
        **shape,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    values = {"pixels": channels_last(pixels), "vector": maps["hidden_8"].mean(dim=(1, 2)).numpy()}
    # The head is 1,280 wide: its map is left out, its mean stands for it.
    kept = {name: maps[name].contiguous().numpy() for name in sorted(maps) if name != "hidden_8"}
    kept["hidden_0"], kept["hidden_1"] = kept["hidden_0"][:, ::3, ::3], kept["hidden_1"][:, ::3, ::3]
    np.savez(folder / "values.npz", allow_pickle=False, **values, **kept)


def pixels() -> None:
    """A small image with odd sides and a hole, and what each kind of image processor makes of it."""
    folder = HERE / "pixels"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    y, x = np.mgrid[0:23, 0:31]
    wave = [
        127 + 120 * np.sin(x / 3 + y / 5),
        8 * x,
        255 - 10 * y,
        np.where((x - 20) ** 2 + (y - 8) ** 2 < 30, 40, 255),
    ]
    image = Image.fromarray(np.stack(wave, axis=-1).clip(0, 255).astype(np.uint8), "RGBA")
    image.save(folder / "image.png")
    kinds = {
        "clip": CLIPImageProcessorPil(size={"shortest_edge": 15}, crop_size={"height": 13, "width": 17}),
        "clip_small": CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size={"height": 15, "width": 14}),
        "siglip": SiglipImageProcessorPil(size={"height": 10, "width": 12}),
        "vit": ViTImageProcessorPil(size={"height": 11, "width": 13}, **SCALED),
        "vit_nearest": ViTImageProcessorPil(size={"height": 11, "width": 13}, resample=0, do_normalize=False),
        "convnext": ConvNextImageProcessorPil(size={"shortest_edge": 14}, **SCALED),
        "convnext_large": ConvNextImageProcessorPil(size={"shortest_edge": 384}, do_rescale=False, do_normalize=False),
    }
    values = {}
    for name, processor in kinds.items():
        processor.save_pretrained(folder / name)
        given = image if getattr(processor, "do_convert_rgb", None) else image.convert("RGB")
        made = processor(given, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        values[name] = made[::9, ::9].astype(np.uint8) if name == "convnext_large" else made.astype(np.float32)
    np.savez_compressed(folder / "values.npz", allow_pickle=False, **values)


ALL: dict[str, Callable[[], None]] = {
    **{name: lambda name=name: keep(name) for name in MODELS},  # type: ignore[misc]
    "efficientnet-lite": efficientnet_lite,
    "pixels": pixels,
}


def main() -> None:
    """Remake what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ALL, []], metavar="name")
    for name in parser.parse_args().names or ALL:
        ALL[name]()


if __name__ == "__main__":
    main()
