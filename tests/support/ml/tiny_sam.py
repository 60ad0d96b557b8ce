"""A real Segment Anything network, small enough to create for each test, with random weights."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from ml.pixels import Pixels

SIDE = 64
_PATCH = 8
_EMBEDDING = 32
_SURENESS = 3000.0


def tiny_sam(seed: int = 1, score: float = 0.95) -> Any:
    """A network that is sure of itself: every mask has about this score, and logits far from 0."""
    torch.manual_seed(seed)
    grid = SIDE // _PATCH
    network = Sam(
        image_encoder=ImageEncoderViT(
            depth=3,
            embed_dim=16,
            img_size=SIDE,
            mlp_ratio=2,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2,
            patch_size=_PATCH,
            use_rel_pos=True,
            global_attn_indexes=(1,),
            window_size=3,
            out_chans=_EMBEDDING,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=_EMBEDDING,
            image_embedding_size=(grid, grid),
            input_image_size=(SIDE, SIDE),
            mask_in_chans=8,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=_EMBEDDING, mlp_dim=24, num_heads=8),
            transformer_dim=_EMBEDDING,
            iou_head_depth=3,
            iou_head_hidden_dim=16,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    with torch.no_grad():
        network.mask_decoder.iou_prediction_head.layers[-1].bias.fill_(score)
        for branch in network.mask_decoder.output_hypernetworks_mlps:
            branch.layers[-1].weight.mul_(_SURENESS)
            branch.layers[-1].bias.mul_(_SURENESS)
    return network.eval()


def save_tiny_sam(path: Path, seed: int = 1) -> Path:
    torch.save(tiny_sam(seed).state_dict(), path)
    return path


def own_predictor(pixels: Pixels, seed: int = 1) -> Any:
    """The package's own predictor, with its picture."""
    predictor = SamPredictor(tiny_sam(seed))
    predictor.set_image(np.ascontiguousarray(pixels))
    return predictor


def place_of_an_object(pixels: Pixels, seed: int = 1) -> tuple[int, int]:
    """A click (x, y) whose best mask holds it: random weights have no taste."""
    predictor = own_predictor(pixels, seed)
    height, width = pixels.shape[:2]
    for y in range(10, height, height // 6):
        for x in range(10, width, width // 6):
            masks, scores, _ = predictor.predict(np.array([[x, y]]), np.array([1]))
            mask = masks[int(scores.argmax())]
            if mask[y, x] and mask.mean() < 0.9:
                return x, y
    raise AssertionError("no such place")
