"""Checks that engines are installed, without loading them or importing an inference library."""

from pathlib import Path

from ml.checkpoints import registry
from ml.device import Device
from ml.engines import diffusion_parts, pipeline_folder, torch_runtime
from ml.engines.network_facts import (
    ERASING_FACTS,
    MATTING_FACTS,
    OWN_SAM,
    SAM_CHECKPOINTS,
    SAM_LIBRARIES,
    SEGMENTING_FACTS,
    UPSCALING_FACTS,
)
from ml.errors import ModelUnavailable
from ml.generative_config import LIBRARIES, GenerativeConfig


class InstalledEngines:
    """What can be loaded on this machine. Methods read files, and hash those that are new.

    All raise `ModelUnavailable`, and KeyError for a name that is unknown.
    """

    def __init__(
        self, models_dir: Path, cache_dir: Path, device: Device, generative: GenerativeConfig
    ) -> None:
        self.device = device
        self._models_dir = models_dir
        self._cache_dir = cache_dir
        self._generative = generative

    def check_matting(self, checkpoint: str) -> None:
        if registry.CHECKPOINTS[checkpoint].tool != "bg-removal":
            raise KeyError(checkpoint)
        registry.path(self._models_dir, checkpoint)
        if checkpoint not in MATTING_FACTS:
            from ml.engines import rembg_engine

            rembg_engine.check_installed()

    def check_segmenting(self, checkpoint: str) -> None:
        if checkpoint in SAM_CHECKPOINTS or checkpoint == OWN_SAM:
            self._sam_file(checkpoint)
            torch_runtime.check_installed(*SAM_LIBRARIES)
            return
        facts = SEGMENTING_FACTS[checkpoint]
        for name in (facts.encoder_file, facts.decoder_file):
            registry.path(self._models_dir, name)

    def check_erasing(self, checkpoint: str) -> None:
        registry.path(self._models_dir, ERASING_FACTS[checkpoint].checkpoint)

    def check_upscaling(self, checkpoint: str) -> None:
        for name in UPSCALING_FACTS[checkpoint].files:
            registry.path(self._models_dir, name)

    def check_inpainting(self) -> None:
        folder = pipeline_folder.find(self._generative, self._models_dir, self._cache_dir)
        torch_runtime.check_installed(*LIBRARIES)
        diffusion_parts.choose(folder, self._generative, self._models_dir, self.device)

    def _sam_file(self, checkpoint: str) -> Path:
        if checkpoint != OWN_SAM:
            return registry.path(self._models_dir, checkpoint)
        own = self._generative.sam_checkpoint
        if own is None or not own.is_file():
            setting = self._generative.setting_names.sam_checkpoint
            problem = f"is not installed: {setting} does not name a file"
            raise ModelUnavailable(OWN_SAM, "bgeraser models pull sam-vit-b", problem)
        return own
