"""Following words on a processor: seconds a call at Stable Diffusion 1.5's real size.

The weights are random: the work is the same, and none are needed from anywhere. 512 x 512, 4 steps, no
guidance, a tiny autoencoder both ways, as a processor does it by default with the table's LoRA. Each number
type runs in a process of its own, whose peak memory is shown: a worker may use 4 GiB by default.
"""

import dataclasses
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 512
STEPS = 4
RUNS = 2
NUMBERS = ("bfloat16", "float32")
_TINY_VAE = "tiny-vae.safetensors"


def _random(make: Any, folder: Path) -> None:
    """Save a network of this shape in half precision, as checkpoints are."""
    import torch

    with torch.device("meta"):
        network = make()
    network = network.to(torch.bfloat16).to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            is_scale = "norm" in name and name.endswith("weight")
            parameter.fill_(1.0) if is_scale else parameter.normal_(0, 0.02)
    network.save_pretrained(folder)
    del network
    gc.collect()


def build(place: Path) -> None:
    """A pipeline of the default checkpoint's shape in `place`, and a tiny autoencoder."""
    import safetensors.torch
    import torch
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from ml.engines import sd_inpainting_config as config
    from tests.support.ml import tiny_pipelines

    torch.manual_seed(0)
    _random(lambda: UNet2DConditionModel.from_config(config.UNET), place / "unet")
    _random(lambda: AutoencoderKL.from_config(config.VAE), place / "vae")
    _random(lambda: CLIPTextModel(CLIPTextConfig(**config.TEXT_ENCODER)), place / "text_encoder")
    tiny_pipelines.make_tokenizer().save_pretrained(place / "tokenizer")
    for name in ("model_index.json", "scheduler/scheduler_config.json"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(json.dumps(config.CONFIGURATION[name]))
    safetensors.torch.save_file(AutoencoderTiny().state_dict(), place / _TINY_VAE)


def measure(place: Path, numbers: str) -> None:
    """Print the seconds of loading and of a call, and the most memory this process had."""
    from ml.engines import diffusion_parts, pipeline_folder
    from ml.engines.diffusion import Inpainter, PromptOptions
    from ml.generative_config import GenerativeConfig

    choices = GenerativeConfig(
        inpaint_tiny_vae=str(place / _TINY_VAE), inpaint_scheduler="lcm", inpaint_steps=STEPS
    )
    folder = pipeline_folder.inspect_folder(place, "random")
    parts = dataclasses.replace(diffusion_parts.choose(folder, choices, place, "cpu"), numbers=numbers)
    began = time.perf_counter()
    engine = Inpainter(folder, parts, choices, "cpu", threads=2)
    loading = time.perf_counter() - began
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[128:384, 128:384] = 255
    took, computed = [], []
    for _ in range(RUNS):
        began, began_computing = time.perf_counter(), time.process_time()
        engine.repaint(picture, mask, PromptOptions("a red cat"), lambda _: None)
        took.append(time.perf_counter() - began)
        computed.append(time.process_time() - began_computing)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    estimate = diffusion_parts.memory_bytes(folder, parts) / 1024**3
    seconds = f"{loading:9.1f}{took[0]:9.1f}{took[1]:9.1f}{computed[1] / 2:9.1f}"
    print(f"{numbers:10}{seconds}{most:12.2f}{estimate:12.2f}", flush=True)


def main() -> None:
    print(
        f"prompts at SD-1.5 shapes, {SIDE} x {SIDE}, {STEPS} steps, no guidance, tiny VAE, 2 threads: seconds"
    )
    print("CPU/2 is half of the processor's time for the later call: what it takes where nothing else runs")
    print(f"{'numbers':10}{'loading':>9}{'first':>9}{'later':>9}{'CPU/2':>9}{'peak GiB':>12}{'estimate':>12}")
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # as `ml.runtime.process` starts workers
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "tests.benchmarks.diffusion", "build", place], check=True)
        for numbers in NUMBERS:
            command = [sys.executable, "-m", "tests.benchmarks.diffusion", numbers, place]
            subprocess.run(command, check=True, env=environment)


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(Path(sys.argv[2]))
    else:
        measure(Path(sys.argv[2]), sys.argv[1])
