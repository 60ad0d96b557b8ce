"""Real diffusion pipelines, small enough to create for each test, with random weights and no hub."""

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from ml.engines.torch_runtime import silence_libraries

#: The side of the pictures that these pipelines are made for.
SIDE = 64
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def save_sd(folder: Path, *, seed: int = 0, licence: str | None = None, checker: bool = False) -> Path:
    """A pipeline of Stable Diffusion 1.5's inpainting kind."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    parts: dict[str, Any] = {
        "vae": _vae(),
        "text_encoder": CLIPTextModel(_text_config(tokenizer)),
        "tokenizer": tokenizer,
        "unet": _unet(cross_attention_dim=32),
        "scheduler": DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **_BETAS),
        "safety_checker": _checker() if checker else None,
        "feature_extractor": CLIPImageProcessor(size=32, crop_size=32) if checker else None,
        "requires_safety_checker": checker,
    }
    with silence_libraries():
        StableDiffusionInpaintPipeline(**parts).save_pretrained(folder)
    return _with_licence(folder, licence)


def save_sdxl(folder: Path) -> Path:
    """A pipeline of Stable Diffusion XL's inpainting kind: two text encoders, sizes as conditions."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    second = CLIPTextModelWithProjection(_text_config(tokenizer, projection_dim=32))
    unet = _unet(
        cross_attention_dim=64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=8 * 6 + 32,
    )
    with silence_libraries():
        StableDiffusionXLInpaintPipeline(
            vae=_vae(),
            text_encoder=CLIPTextModel(_text_config(tokenizer)),
            text_encoder_2=second,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer,
            unet=unet,
            scheduler=EulerDiscreteScheduler(timestep_spacing="leading", **_BETAS),
        ).save_pretrained(folder)
    return folder


def save_tiny_vae(folder: Path) -> Path:
    torch.manual_seed(5)
    widths = (8, 8, 8, 8)
    AutoencoderTiny(encoder_block_out_channels=widths, decoder_block_out_channels=widths).save_pretrained(
        folder
    )
    return folder


def save_lora(path: Path, folder: Path, seed: int = 3) -> Path:
    """A LoRA for the UNet of the pipeline in `folder`, as few-step ones are: for its attention's layers."""
    import safetensors.torch

    torch.manual_seed(seed)
    weights = safetensors.torch.load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    lora = {}
    for name, weight in weights.items():
        if name.endswith(("to_q.weight", "to_k.weight", "to_v.weight")):
            layer = f"unet.{name.removesuffix('.weight')}"
            lora[f"{layer}.lora_A.weight"] = torch.randn(4, weight.shape[1])
            lora[f"{layer}.lora_B.weight"] = torch.randn(weight.shape[0], 4)
    safetensors.torch.save_file(lora, path)
    return path


def _unet(**options: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=SIDE // 8,
        in_channels=9,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=8,
        **options,
    )


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
    )


def make_tokenizer() -> CLIPTokenizer:
    """A tokenizer of single letters with a vocabulary of its own."""
    words = [*_LETTERS, *(f"{letter}</w>" for letter in _LETTERS), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _text_config(tokenizer: CLIPTokenizer, **options: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **options,
    )


def _checker() -> StableDiffusionSafetyChecker:
    """One that objects to everything: each concept's threshold is below any likeness."""
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=1,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    config = CLIPConfig(vision_config=vision.to_dict(), projection_dim=32)
    checker = StableDiffusionSafetyChecker(config)
    with torch.no_grad():
        checker.concept_embeds_weights.fill_(-2.0)
        checker.special_care_embeds_weights.fill_(-2.0)
    return checker


def _with_licence(folder: Path, licence: str | None) -> Path:
    if licence is not None:
        (folder / "README.md").write_text(
            f"---\nlicense: {licence}\ntags:\n- inpainting\n---\n# A pipeline\n"
        )
    return folder
