"""Which pipeline folders are accepted; code, pickles and restrictive licences are refused."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml.checkpoints import licences
from ml.checkpoints.registry import CHECKPOINTS
from ml.engines import pipeline_folder, sd_inpainting_config
from ml.engines.cache import EngineCache
from ml.engines.diffusion import PromptOptions
from ml.engines.pipeline_folder import PipelineFolder
from ml.errors import ModelUnavailable
from ml.generative_config import DEFAULT_INPAINTING, GenerativeConfig
from tests.support.ml import tiny_pipelines
from tests.support.ml.package_sources import make_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_pipelines.save_sd(tmp_path / "tiny")


def found(chosen: str | Path, tmp_path: Path, **choices: Any) -> PipelineFolder:
    config = replace(GenerativeConfig(inpaint_checkpoint=str(chosen)), **choices)
    return pipeline_folder.find(config, tmp_path / "models", tmp_path / "cache")


def refusal(chosen: str | Path, tmp_path: Path, **choices: Any) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as refused:
        found(chosen, tmp_path, **choices)
    return refused.value


class TestChoice:
    def test_a_directory_is_named_without_its_path(self, folder: Path, tmp_path: Path) -> None:
        assert found(folder, tmp_path).name == "tiny"
        assert str(tmp_path) not in str(refusal(tmp_path / "elsewhere", tmp_path))

    def test_the_default_is_not_installed_until_it_is_pulled(self, tmp_path: Path) -> None:
        refused = refusal(DEFAULT_INPAINTING, tmp_path)
        assert refused.command == "bgeraser models pull --profile generative"
        assert DEFAULT_INPAINTING in str(refused)

    def test_another_tool_s_checkpoint_is_refused(self, tmp_path: Path) -> None:
        assert "not an inpainting checkpoint" in str(refusal("u2netp", tmp_path))

    def test_a_hub_id_is_resolved_locally_only(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        assert refusal("owner/name", tmp_path).command == "bgeraser models pull owner/name"
        cache = tmp_path / "hf" / "hub" / "models--owner--name"
        tiny_pipelines.save_sd(cache / "snapshots" / "abc")
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text("abc")
        assert found("owner/name", tmp_path).path == cache / "snapshots" / "abc"
        pulled = tiny_pipelines.save_sd(tmp_path / "models" / "hub" / "owner--name")
        assert found("owner/name", tmp_path).path == pulled

    def test_a_folder_with_only_half_precision_files_is_detected(self, folder: Path, tmp_path: Path) -> None:
        for file in folder.glob("*/*.safetensors"):
            file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
        assert found(folder, tmp_path).variant == "fp16"


class TestNeverOpened:
    @pytest.mark.parametrize("name", ["model.ckpt", "model.bin", "model.pt", "model.pkl"])
    def test_a_pickle_is_refused(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(pickle.dumps({}))
        assert "pickle" in str(refusal(tmp_path / name, tmp_path))

    def test_a_folder_with_pickled_weights_is_refused(self, folder: Path, tmp_path: Path) -> None:
        weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
        weights.unlink()
        torch.save({}, weights.with_suffix(".bin"))
        refused = str(refusal(folder, tmp_path))
        assert "unet/diffusion_pytorch_model.bin" in refused
        assert "only safetensors" in refused

    @pytest.mark.parametrize("where", ["own component", "own pipeline", "file"])
    def test_a_folder_with_code_is_refused(self, folder: Path, tmp_path: Path, where: str) -> None:
        index = json.loads((folder / "model_index.json").read_text())
        if where == "own component":
            index["unet"] = ["my_unet", "MyUNet"]
        elif where == "own pipeline":
            index["_class_name"] = ["pipeline", "MyPipeline"]
        else:
            (folder / "unet" / "my_unet.py").write_text("raise SystemExit")
        (folder / "model_index.json").write_text(json.dumps(index))
        assert "contains code" in str(refusal(folder, tmp_path))

    @pytest.mark.parametrize("content", [None, "", "[]", "{}", "\x00"])
    def test_a_folder_that_is_not_a_pipeline_is_refused(self, tmp_path: Path, content: str | None) -> None:
        place = tmp_path / "empty"
        place.mkdir()
        if content is not None:
            (place / "model_index.json").write_text(content)
        assert "model_index.json" in str(refusal(place, tmp_path))


class TestLicences:
    @pytest.mark.parametrize(
        "licence", ["cc-by-nc-4.0", "cc-by-nc-sa-4.0", "flux-1-dev-non-commercial-license"]
    )
    def test_a_non_commercial_licence_must_be_accepted_by_the_operator(
        self, tmp_path: Path, licence: str
    ) -> None:
        folder = tiny_pipelines.save_sd(tmp_path / "nc", licence=licence)
        refused = str(refusal(folder, tmp_path))
        assert licence in refused
        assert "allow_noncommercial is not set" in refused
        assert found(folder, tmp_path, allow_noncommercial=True).name == "nc"

    @pytest.mark.parametrize(
        "licence", ["creativeml-openrail-m", "openrail++", "apache-2.0", "mit", "stabilityai-ai-community"]
    )
    def test_a_commercial_licence_needs_no_acceptance(self, tmp_path: Path, licence: str) -> None:
        folder = tiny_pipelines.save_sd(tmp_path / "free", licence=licence)
        assert licences.read_licence(folder) == licence
        assert found(folder, tmp_path).name == "free"

    def test_a_custom_licence_is_judged_by_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: 'sai-nc-community'\n---\n")
        stated = licences.read_licence(tmp_path)
        assert stated == "sai-nc-community"
        assert licences.forbids_commercial_use(stated)

    def test_the_default_s_licence_allows_commercial_use(self) -> None:
        default = CHECKPOINTS[DEFAULT_INPAINTING]
        assert default.commercial
        assert default.weights_licence == "CreativeML OpenRAIL-M"


class TestTheDefaultsOwnShape:
    def test_every_pinned_file_has_a_path_in_the_pipeline(self) -> None:
        names = {file.file_name for file in CHECKPOINTS[DEFAULT_INPAINTING].files}
        assert set(sd_inpainting_config.FILES.values()) == names

    @pytest.mark.parametrize(
        ("part", "most_header_bytes"), [("unet", 100_000), ("vae", 40_000), ("text", 40_000)]
    )
    def test_the_pinned_weights_have_as_many_bytes_as_the_network_needs(
        self, part: str, most_header_bytes: int
    ) -> None:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel

        config = sd_inpainting_config
        with torch.device("meta"):
            if part == "unet":
                network = UNet2DConditionModel.from_config(config.UNET)
            elif part == "vae":
                network = AutoencoderKL.from_config(config.VAE)
            else:
                network = CLIPTextModel(CLIPTextConfig(**config.TEXT_ENCODER))
        files = {file.file_name: file for file in CHECKPOINTS[DEFAULT_INPAINTING].files}
        size_bytes = files[f"sd-inpainting-{part}.safetensors"].size_bytes
        numbers = sum(parameter.numel() for parameter in network.parameters())
        # Two bytes a number; the rest is the header, and in the text encoder 77 whole numbers.
        assert 0 < size_bytes - 2 * numbers < most_header_bytes

    def test_the_pipeline_folder_is_built_from_links_and_generated_configs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With small files, and their pins, in place of the real ones."""
        models = tmp_path / "models"
        tiny = tiny_pipelines.save_sd(tmp_path / "tiny")
        vocabulary = tiny_pipelines.make_tokenizer().get_vocab()
        (tiny / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
        (tiny / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
        models.mkdir()
        contents = {}
        for place, name in sd_inpainting_config.FILES.items():
            contents[name] = (tiny / place).read_bytes()
            (models / name).write_bytes(contents[name])
        monkeypatch.setitem(CHECKPOINTS, DEFAULT_INPAINTING, make_checkpoint(DEFAULT_INPAINTING, contents))
        for part in ("unet", "vae", "text_encoder"):
            shape = json.loads((tiny / part / "config.json").read_text())
            monkeypatch.setitem(sd_inpainting_config.CONFIGURATION, f"{part}/config.json", shape)
        for _ in range(2):  # the second time everything is there already
            folder = found(DEFAULT_INPAINTING, tmp_path)
        assert folder.pipeline == "StableDiffusionInpaintPipeline"
        assert folder.components == {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}
        engine = EngineCache(models, tmp_path / "cache", "cpu", 4 << 30, threads=2).inpainter()
        assert (engine.checkpoint, engine.device, engine.default_guidance) == (DEFAULT_INPAINTING, "cpu", 7.5)
        picture, mask = np.zeros((64, 64, 3), np.uint8), np.full((64, 64), 255, np.uint8)
        made = engine.repaint(picture, mask, PromptOptions("a cat", steps=2), lambda _: None)
        assert made.std() > 1
        (models / "sd-inpainting-unet.safetensors").write_bytes(b"damaged")
        assert refusal(DEFAULT_INPAINTING, tmp_path).checkpoint == DEFAULT_INPAINTING
        link = folder.path / "tokenizer" / "vocab.json"
        assert link.readlink() == models / "sd-inpainting-vocab.json"
