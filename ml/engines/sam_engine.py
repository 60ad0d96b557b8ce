"""Meta's Segment Anything checkpoints, run by the `segment_anything` package; imported on first use.

All computation is in 32 bits with the package's own steps, so that masks equal the package's exactly.
Embeddings are stored in 32 bits for the same reason, twice the size of the built-in engine's.
"""

import hashlib
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.device import Device
from ml.engines import sam_architecture, segmenting, torch_runtime
from ml.engines.network import Floats
from ml.engines.network_facts import SAM_LIBRARIES
from ml.engines.segmenting import Candidate, Embedding
from ml.engines.torch_runtime import translate_memory_errors
from ml.errors import ModelUnavailable
from ml.imaging.selection_prompts import SelectionPrompt
from ml.pixels import Mask, Pixels
from ml.progress import ReportProgress

_EMBEDDINGS_KEPT = 4
_DIGEST_BYTES = 32
# Points per side of the grid of automatic mask generation; on a CPU a quarter of the package's default
# points.
_GRID_POINTS = {"cpu": 16}
_GRID_POINTS_ELSEWHERE = 32
_POINTS_AT_ONCE = 64
# Logit for masks that come without logits.
_SURE = 10.0


class SamSegmenter:
    """`ml.engines.segmenting.SegmentingEngine` of one state dict in `file`, whose SHA-256 is `sha256`."""

    def __init__(
        self, checkpoint: str, artefact: str, file: Path, sha256: str, device: Device, threads: int
    ) -> None:
        """Raises `ModelUnavailable` without the libraries, or if the file is not such a state dict."""
        torch_runtime.check_installed(*SAM_LIBRARIES)
        self._torch = torch_runtime.import_torch(threads)
        from segment_anything import SamPredictor

        self.checkpoint = checkpoint
        self.artefact = artefact
        self.device = torch_runtime.usable_device(self._torch, device)
        self.encoded = 0  # number of pictures encoded
        self._identity = bytes.fromhex(sha256)
        with translate_memory_errors():
            self._network = _load_network(self._torch, checkpoint, file).to(self.device)
        self._predictor = SamPredictor(self._network)
        self._recent: OrderedDict[bytes, Embedding] = OrderedDict()

    def embed(self, picture: Pixels) -> Embedding:
        """The embedding of `picture` (H x W x 3): C x h x w. The most recent ones are cached."""
        shown = np.ascontiguousarray(picture)
        small = self._predictor.transform.apply_image(shown)
        size = b"%dx%d" % (picture.shape[1], picture.shape[0])
        key = hashlib.sha256(small.tobytes() + size).digest()
        if key not in self._recent:
            with translate_memory_errors(), self._torch.inference_mode():
                batch = self._torch.as_tensor(small, device=self.device).permute(2, 0, 1).contiguous()[None]
                features = self._network.image_encoder(self._network.preprocess(batch))
            self.encoded += 1
            self._recent[key] = features[0].float().cpu().numpy()
            if len(self._recent) > _EMBEDDINGS_KEPT:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        return self._recent[key]

    def decode_embedding(self, content: bytes | None) -> Embedding | None:
        """Decode a stored embedding; None if it is missing, damaged or from another checkpoint."""
        side = self._network.image_encoder.img_size // self._network.image_encoder.patch_embed.proj.stride[0]
        shape = (self._network.prompt_encoder.embed_dim, side, side)
        if content is None or len(content) != _DIGEST_BYTES + 4 * int(np.prod(shape)):
            return None
        if content[:_DIGEST_BYTES] != self._identity:
            return None
        embedding = np.frombuffer(content, np.float32, offset=_DIGEST_BYTES).reshape(shape)
        return embedding if bool(np.isfinite(embedding).all()) else None

    def encode_embedding(self, embedding: Embedding) -> bytes:
        """The checkpoint's SHA-256, which identifies it, followed by the values."""
        return self._identity + embedding.astype(np.float32).tobytes()

    def candidates(
        self, embedding: Embedding, prompt: SelectionPrompt, size: tuple[int, int], count: int
    ) -> list[Candidate]:
        """As `Segmenter.candidates`; the choice among few and several masks is the same."""
        self._set_embedding(embedding, size)
        points = len(prompt.clicks) + (1 if prompt.box is None else 2)
        is_ambiguous = count > 1 or points <= segmenting.FEW_POINTS
        scale = self._predictor.transform
        true_size = (size[1], size[0])
        places = np.array([(x, y) for x, y, _ in prompt.clicks], np.float64).reshape(-1, 2)
        clicks: dict[str, Any] = {}
        if len(places):
            clicks["point_coords"] = scale.apply_coords(places, true_size)
            clicks["point_labels"] = np.array([label for *_, label in prompt.clicks])
        if prompt.box is not None:
            clicks["box"] = scale.apply_boxes(np.array(prompt.box, np.float64), true_size)
        if self._predictor.original_size == true_size:  # then the predictor scales them itself
            clicks |= {"point_coords": places} if len(places) else {}
            clicks |= {"box": np.array(prompt.box, np.float64)} if prompt.box is not None else {}
        with translate_memory_errors():
            logits, scores, _ = self._predictor.predict(
                **clicks, multimask_output=is_ambiguous, return_logits=True
            )
        chosen = np.argsort(-scores, kind="stable")[:count]
        return [Candidate(logits[number], float(scores[number])) for number in chosen]

    def objects(
        self,
        picture: Pixels,
        embedding: Embedding,
        prompt: SelectionPrompt,  # noqa: ARG002  # all objects are generated
        step: ReportProgress,
    ) -> list[Candidate]:
        """All objects in the picture, by `SamAutomaticMaskGenerator`.

        `step` is called with the fraction done, 0..1, and may raise.
        """
        from segment_anything import SamAutomaticMaskGenerator

        per_side = _GRID_POINTS.get(self.device, _GRID_POINTS_ELSEWHERE)
        height, width = self._inner_shape((picture.shape[1], picture.shape[0]))
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        self._set_embedding(embedding, (picture.shape[1], picture.shape[0]))
        generator = SamAutomaticMaskGenerator(
            self._network, points_per_side=per_side, points_per_batch=_POINTS_AT_ONCE
        )
        batches = -(-(per_side**2) // _POINTS_AT_ONCE)
        generator.predictor = _Prepared(self._predictor, lambda done: step(min(1.0, done / batches)))
        with translate_memory_errors():
            masks = generator.generate(small)
        return [
            Candidate(np.where(mask["segmentation"], _SURE, -_SURE).astype(np.float32), mask["predicted_iou"])
            for mask in masks
        ]

    def to_mask(self, logits: Floats, size: tuple[int, int]) -> Mask:
        """Where `logits` are above 0, at `size` (width, height): H x W, 0 or 255."""
        if size != (logits.shape[1], logits.shape[0]):
            values = self._torch.from_numpy(np.ascontiguousarray(logits))[None, None]
            resize = self._torch.nn.functional.interpolate
            logits = resize(values, (size[1], size[0]), mode="bilinear", align_corners=False)[0, 0].numpy()
        return np.where(logits > 0, np.uint8(255), np.uint8(0))

    def _inner_shape(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the network's view of a picture of (width, height), or its own if smaller."""
        side = self._network.image_encoder.img_size
        if max(size) <= side:
            return size[1], size[0]
        shape: tuple[int, int] = self._predictor.transform.get_preprocess_shape(size[1], size[0], side)
        return shape

    def _set_embedding(self, embedding: Embedding, size: tuple[int, int]) -> None:
        """Set the predictor's picture of (width, height) from its embedding, as `set_image` does.

        Masks of a large picture have the network's size; `to_mask` enlarges one at a time.
        """
        predictor, side = self._predictor, self._network.image_encoder.img_size
        predictor.features = self._torch.tensor(embedding, device=self.device)[None]
        predictor.input_size = predictor.transform.get_preprocess_shape(size[1], size[0], side)
        predictor.original_size = self._inner_shape(size)
        predictor.is_image_set = True


class _Prepared:
    """A predictor whose picture is set, for a generator that would encode it again."""

    def __init__(self, predictor: Any, step: ReportProgress) -> None:
        self._predictor = predictor
        self._step = step
        self._batches = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)

    def set_image(self, _picture: NDArray[np.uint8]) -> None:
        """Keep the embedding that is already set."""

    def reset_image(self) -> None:
        """Keep the embedding."""

    def predict_torch(self, *arguments: Any, **options: Any) -> Any:
        self._step(self._batches)
        self._batches += 1
        return self._predictor.predict_torch(*arguments, **options)


def _load_network(torch: Any, checkpoint: str, file: Path) -> Any:
    """Load a network from a state dict, with `weights_only` so that no code in the file is run."""
    command = "bgeraser models pull sam-vit-b"
    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        network = sam_architecture.build(shapes)
        network.load_state_dict(state)
    except FileNotFoundError:
        raise ModelUnavailable(f"{checkpoint} ({file.name})", command) from None
    except pickle.UnpicklingError:
        problem = f"({file.name}) is damaged or contains more than a state dict"
        raise ModelUnavailable(checkpoint, command, problem) from None
    except (RuntimeError, KeyError, IndexError, ValueError, AttributeError, TypeError, EOFError) as error:
        with translate_memory_errors():
            if isinstance(error, RuntimeError) and "memory" in str(error):
                raise
        problem = f"({file.name}) is not a Segment Anything state dict"
        raise ModelUnavailable(checkpoint, command, problem) from None
    return network.eval().requires_grad_(False)
