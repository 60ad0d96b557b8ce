"""Segment Anything: masks equal to the reference package, from state dicts that run no code."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

from ml.checkpoints import digests
from ml.engines import sam_architecture
from ml.engines.cache import EngineCache
from ml.engines.sam_engine import SamSegmenter
from ml.errors import Cancelled, ModelUnavailable, OutOfMemory
from ml.generative_config import GenerativeConfig
from ml.imaging.selection_prompts import SelectionPrompt
from ml.pixels import Picture
from ml.tool import ARTEFACT_PREFIX
from ml.tools import magic_select
from ml.tools.magic_select import MagicSelectParams
from tests.support import checkpoints
from tests.support.ml.contexts import Calm, Impatient
from tests.support.ml.photos import photo
from tests.support.ml.tiny_sam import own_predictor, place_of_an_object, save_tiny_sam, tiny_sam


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sam(tmp_path_factory.mktemp("sam") / "tiny.pth")


@pytest.fixture(scope="module")
def engine(file: Path) -> SamSegmenter:
    return SamSegmenter("sam", "embedding-sam", file, digests.sha256_of(file), "cpu", 2)


#: Larger than the network's 64 pixels, of other shapes, and smaller.
SIZES = {"wide": (151, 300), "tall": (233, 120), "as large": (64, 64), "small": (31, 47)}
PROMPTS = {
    "one click": SelectionPrompt(((20.5, 11.0, 1),)),
    "clicks on and off": SelectionPrompt(((20.0, 11.0, 1), (40.0, 25.0, 0), (5.0, 20.0, 1))),
    "a box": SelectionPrompt(box=(4.0, 5.0, 40.0, 28.0)),
    "a box and a click": SelectionPrompt(((20.0, 11.0, 1),), (4.0, 5.0, 40.0, 28.0)),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_masks_equal_those_of_the_reference_package(engine: SamSegmenter, size: str, prompt: str) -> None:
    height, width = SIZES[size]
    pixels = cv2.resize(photo("astronaut"), (width, height))
    asked = PROMPTS[prompt]
    found = engine.candidates(engine.embed(pixels), asked, (width, height), 3)
    masks, scores, _ = own_predictor(pixels).predict(
        point_coords=np.array([click[:2] for click in asked.clicks]) if asked.clicks else None,
        point_labels=np.array([click[2] for click in asked.clicks]) if asked.clicks else None,
        box=None if asked.box is None else np.array(asked.box),
        multimask_output=True,
    )
    order = np.argsort(-scores, kind="stable")
    assert [one.score for one in found] == [float(scores[number]) for number in order]
    for one, number in zip(found, order, strict=True):
        mask = engine.to_mask(one.logits, (width, height))
        assert np.array_equal(mask > 0, masks[number])
        assert 0 < (mask > 0).mean() < 1, "nothing to compare"


def test_several_points_yield_one_mask_and_few_the_best_of_three(engine: SamSegmenter) -> None:
    pixels = photo("astronaut")[:100, :150]
    embedding = engine.embed(pixels)
    for name, is_ambiguous in (("one click", True), ("clicks on and off", False)):
        asked = PROMPTS[name]
        [best] = engine.candidates(embedding, asked, (150, 100), 1)
        masks, scores, _ = own_predictor(pixels).predict(
            np.array([click[:2] for click in asked.clicks]),
            np.array([click[2] for click in asked.clicks]),
            multimask_output=is_ambiguous,
        )
        assert np.array_equal(engine.to_mask(best.logits, (150, 100)) > 0, masks[int(scores.argmax())])


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_tensor_shapes_identify_each_network(name: str) -> None:
    with torch.device("meta"):
        theirs = sam_model_registry[name]()
        shapes = {key: tuple(tensor.shape) for key, tensor in theirs.state_dict().items()}
        ours = sam_architecture.build(shapes)
    assert {key: tuple(tensor.shape) for key, tensor in ours.state_dict().items()} == shapes
    mine, wanted = ours.image_encoder, theirs.image_encoder
    assert [block.window_size for block in mine.blocks] == [block.window_size for block in wanted.blocks]
    assert [block.attn.num_heads for block in mine.blocks] == [
        block.attn.num_heads for block in wanted.blocks
    ]
    assert mine.img_size == wanted.img_size == 1024


def test_an_embedding_is_stored_exactly_and_bound_to_its_checkpoint(
    engine: SamSegmenter, tmp_path: Path
) -> None:
    embedding = engine.embed(photo("chelsea"))
    kept = engine.encode_embedding(embedding)
    stored = engine.decode_embedding(kept)
    assert stored is not None
    assert np.array_equal(stored, embedding)
    other_file = save_tiny_sam(tmp_path / "other.pth", seed=2)
    other = SamSegmenter("sam", "embedding-sam", other_file, digests.sha256_of(other_file), "cpu", 2)
    for content in (None, b"", kept[:-4], kept[:32] + b"\xff" * (len(kept) - 32)):
        assert engine.decode_embedding(content) is None
    assert other.decode_embedding(kept) is None


def test_an_image_is_encoded_once(file: Path) -> None:
    engine = SamSegmenter("sam", "embedding-sam", file, digests.sha256_of(file), "cpu", 2)
    for _ in range(3):
        engine.embed(photo("chelsea"))
    assert engine.encoded == 1


def test_automatic_masks_equal_those_of_the_reference_package(engine: SamSegmenter) -> None:
    pixels = cv2.resize(photo("astronaut"), (64, 64))
    found = engine.objects(pixels, engine.embed(pixels), SelectionPrompt(box=(0, 0, 9, 9)), lambda _: None)
    network = tiny_sam()
    theirs = SamAutomaticMaskGenerator(network, points_per_side=16).generate(pixels)
    assert len(found) == len(theirs) > 0
    for one, other in zip(found, theirs, strict=True):
        assert np.array_equal(one.logits > 0, other["segmentation"])
        assert one.score == other["predicted_iou"]


def test_automatic_mask_generation_can_be_cancelled(engine: SamSegmenter) -> None:
    seen: list[float] = []

    def step(done: float) -> None:
        seen.append(done)
        if done >= 0.5:
            raise Cancelled

    pixels = cv2.resize(photo("astronaut"), (64, 64))
    with pytest.raises(Cancelled):
        engine.objects(pixels, engine.embed(pixels), SelectionPrompt(box=(0, 0, 9, 9)), step)
    assert seen == [0.0, 0.25, 0.5]


class _Trap:
    """What a hostile pickle holds: a call that is made on loading."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self._path),))


class TestFilesThatAreNone:
    def test_a_pickle_with_code_is_refused_and_not_executed(self, tmp_path: Path) -> None:
        trap = tmp_path / "sprung"
        torch.save({"image_encoder.pos_embed": _Trap(trap)}, tmp_path / "evil.pth")
        with pytest.raises(
            ModelUnavailable, match=r"sam \(evil.pth\) is damaged or contains more than a state dict"
        ):
            SamSegmenter("sam", "embedding-sam", tmp_path / "evil.pth", "00" * 32, "cpu", 1)
        assert not trap.exists()

    @pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04 cut"])
    def test_a_damaged_file_is_refused(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(ModelUnavailable, match=r"sam \(bad.pth\)"):
            SamSegmenter("sam", "embedding-sam", tmp_path / "bad.pth", "00" * 32, "cpu", 1)

    def test_another_network_s_state_dict_is_refused(self, tmp_path: Path) -> None:
        torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
        with pytest.raises(ModelUnavailable, match="is not a Segment Anything state dict"):
            SamSegmenter("sam", "embedding-sam", tmp_path / "linear.pth", "00" * 32, "cpu", 1)


class TestInTheTool:
    def engines(self, tmp_path: Path, file: Path | None, budget_bytes: int = 4 << 30) -> EngineCache:
        config = GenerativeConfig(sam_checkpoint=file)
        directory = checkpoints.models_dir()
        return EngineCache(directory, tmp_path, "cpu", budget_bytes, threads=2, generative=config)

    def test_the_model_parameter_selects_it_and_the_second_click_reuses_the_embedding(
        self, tmp_path: Path, file: Path
    ) -> None:
        pixels = photo("astronaut")
        context = Calm(engines=self.engines(tmp_path, file))
        click = place_of_an_object(pixels)
        params = MagicSelectParams.model_validate(
            {"points": f"[[{click[0]}, {click[1]}, 1]]", "model": "sam"}
        )
        first = magic_select.run(Picture(pixels, "png"), params, context)
        assert (first.model, first.device, list(first.artefacts)) == ("sam", "cpu", ["embedding-sam"])
        kept = {ARTEFACT_PREFIX + name: content for name, content in first.artefacts.items()}
        fresh = Calm(kept, engines=self.engines(tmp_path, file))
        second = magic_select.run(Picture(pixels, "png"), params, fresh)
        assert np.array_equal(second.pixels, first.pixels)
        assert fresh.engines.segmenting("sam").encoded == 0

    def test_automatic_selection_finds_the_salient_object_and_can_be_cancelled(
        self, tmp_path: Path, file: Path
    ) -> None:
        engines = self.engines(tmp_path, file)
        params = MagicSelectParams.model_validate({"auto": "true", "model": "sam"})
        found = magic_select.run(Picture(photo("astronaut"), "png"), params, Calm(engines=engines))
        assert 0.1 < float(found.fields["areaRatio"]) < 0.9
        with pytest.raises(Cancelled):
            magic_select.run(
                Picture(photo("astronaut"), "png"), params, Impatient(engines=engines, limit=0.73)
            )

    @pytest.mark.parametrize("model", ["sam", "sam-vit-b", "sam-vit-h"])
    def test_a_missing_checkpoint_names_the_install_command(self, tmp_path: Path, model: str) -> None:
        params = MagicSelectParams.model_validate({"points": "[[5,5,1]]", "model": model})
        context = Calm(engines=self.engines(tmp_path, None))
        with pytest.raises(ModelUnavailable) as refused:
            magic_select.run(Picture(photo("chelsea"), "png"), params, context)
        assert refused.value.command == f"bgeraser models pull {'sam-vit-b' if model == 'sam' else model}"

    def test_insufficient_worker_memory_is_reported_before_loading(self, tmp_path: Path, file: Path) -> None:
        engines = self.engines(tmp_path, file, budget_bytes=500 << 20)
        with pytest.raises(OutOfMemory, match="raise memory_limit_bytes"):
            engines.segmenting("sam")
