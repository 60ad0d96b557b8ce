"""Following words on a processor: seconds a call at Stable Diffusion 1.5's real size.

The weights are random: the work is the same, and none are needed from anywhere. 512 x 512, 4 steps, no
guidance, a tiny autoencoder both ways, as a processor does it by default with the table's LoRA. Each number
type runs in a process of its own. Its peak memory must stay within the estimate by which a worker decides
whether the pipeline fits: a worker may use 4 GiB by default.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml import device
from tests.benchmarks.report import Report

SIDE = 512
STEPS = 4
RUNS = 2
_TINY_VAE = "tiny-vae.safetensors"


@dataclass(frozen=True)
class Measured:
    loading_seconds: float
    first_seconds: float
    later_seconds: float
    later_cpu_seconds: float  # of all threads
    peak_gib: float
    estimated_gib: float


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


def measure(place: Path, numbers: str, runs: int) -> Measured:
    """Load the pipeline and call it; in a process of its own, so that its peak memory is its own."""
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
    for _ in range(runs):
        began, began_computing = time.perf_counter(), time.process_time()
        engine.repaint(picture, mask, PromptOptions("a red cat"), lambda _: None)
        took.append(time.perf_counter() - began)
        computed.append(time.process_time() - began_computing)
    return Measured(
        loading_seconds=loading,
        first_seconds=took[0],
        later_seconds=took[-1],
        later_cpu_seconds=computed[-1],
        peak_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2,
        estimated_gib=diffusion_parts.memory_bytes(folder, parts) / 1024**3,
    )


def numbers_of_this_processor() -> tuple[str, ...]:
    """Emulated bfloat16 takes minutes and is never chosen."""
    return ("bfloat16", "float32") if device.has_fast_bf16() else ("float32",)


def main(report: Report) -> None:
    section = report.section(
        "Prompt",
        f"SD-1.5 shapes, random weights, {SIDE} x {SIDE}, {STEPS} steps, no guidance, tiny VAE, 2 threads",
    )
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # as `ml.runtime.process` starts workers
    command = [sys.executable, "-m", "tests.benchmarks.diffusion"]
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([*command, "build", place], check=True)
        for numbers in report.cases(numbers_of_this_processor()):
            runs = str(report.times(RUNS))
            ended = subprocess.run(
                [*command, numbers, place, runs], check=True, env=environment, stdout=subprocess.PIPE
            )
            measured = Measured(**json.loads(ended.stdout.splitlines()[-1]))
            section.add(f"{numbers}, a later call", "s", measured.later_seconds)
            # What it takes where nothing else runs.
            section.add(f"{numbers}, its processor time / 2", "s", measured.later_cpu_seconds / 2)
            section.add(f"{numbers}, first call", "s", measured.first_seconds)
            section.add(f"{numbers}, loading", "s", measured.loading_seconds)
            section.add(f"{numbers}, peak memory", "GiB", measured.peak_gib, at_most=measured.estimated_gib)


if __name__ == "__main__":
    if sys.argv[1] == "build":
        build(Path(sys.argv[2]))
    else:
        measured = measure(Path(sys.argv[2]), sys.argv[1], int(sys.argv[3]))
        print(json.dumps(dataclasses.asdict(measured)))
