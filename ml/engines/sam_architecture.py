"""Builds a Segment Anything network from the tensor shapes of a state dict.

`segment_anything` builds three sizes by name. Shapes determine these three and any other size, so that a
custom checkpoint needs no name.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

# Values of Meta's training, which are not in the state dict.
_PIXEL_MEAN = [123.675, 116.28, 103.53]
_PIXEL_DEVIATION = [58.395, 57.12, 57.375]
_DECODER_HEADS = 8


def build(shapes: Shapes) -> Any:
    """A `segment_anything.modeling.Sam` for tensors of these shapes, without weights.

    Raises KeyError, IndexError or ValueError for shapes of another network.
    """
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
    from torch import nn

    position = shapes["image_encoder.pos_embed"]
    grid, width = position[1], position[3]
    patch = shapes["image_encoder.patch_embed.proj.weight"][-1]
    embedding = shapes["image_encoder.neck.0.weight"][0]
    depth = _count(shapes, r"image_encoder\.blocks\.(\d+)\.")
    position_shapes = [shapes[f"image_encoder.blocks.{number}.attn.rel_pos_h"] for number in range(depth)]
    # Global attention has an entry for every distance in the grid, window attention for those in a window.
    global_blocks = [number for number, shape in enumerate(position_shapes) if shape[0] == 2 * grid - 1]
    windows = {(shape[0] + 1) // 2 for shape in position_shapes if shape[0] != 2 * grid - 1}
    side = grid * patch
    return Sam(
        image_encoder=ImageEncoderViT(
            depth=depth,
            embed_dim=width,
            img_size=side,
            mlp_ratio=shapes["image_encoder.blocks.0.mlp.lin1.weight"][0] / width,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=width // position_shapes[0][1],
            patch_size=patch,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=tuple(global_blocks),
            window_size=windows.pop() if windows else grid,
            out_chans=embedding,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=embedding,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=shapes["prompt_encoder.mask_downscaling.3.weight"][0],
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=shapes["mask_decoder.mask_tokens.weight"][0] - 1,
            transformer=TwoWayTransformer(
                depth=_count(shapes, r"mask_decoder\.transformer\.layers\.(\d+)\."),
                embedding_dim=embedding,
                mlp_dim=shapes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0],
                num_heads=_DECODER_HEADS,
            ),
            transformer_dim=embedding,
            iou_head_depth=_count(shapes, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
            iou_head_hidden_dim=shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0],
        ),
        pixel_mean=_PIXEL_MEAN,
        pixel_std=_PIXEL_DEVIATION,
    )


def _count(shapes: Shapes, pattern: str) -> int:
    """The number of numbered modules whose tensor names match `pattern`."""
    matches = (re.match(pattern, name) for name in shapes)
    return 1 + max(int(match[1]) for match in matches if match)
