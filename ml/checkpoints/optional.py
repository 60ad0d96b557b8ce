"""The part of the table that is never needed to run: larger checkpoints from their publishers' own addresses.

Only files whose SHA-256 is known for certain are listed: there is no checkpoint without a pin.
"""

from ml.checkpoints.types import Checkpoint, Member, Profile, UrlSource, read_pins

_FILES = read_pins("""
8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491  175997641 u2net.onnx
01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c  175997641 u2net_human_seg.onnx
75da6c8d2f8096ec743d071951be73b4a8bc7b3e51d9a6625d63644f90ffeedb   44173029 silueta.onnx
f15622d853e8260172812b657053460e20806f04b9e05147d49af7bed31a6e99  176069933 isnet-anime.onnx
5600024376f572a557870a5eb0afb1e5961636bef4e1e22132025467d0f03333  224005088 birefnet-general-lite.onnx
58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c  972666916 birefnet-general.onnx
ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912  375042383 sam_vit_b_01ec64.pth
3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622 1249524607 sam_vit_l_0b3195.pth
a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e 2564550879 sam_vit_h_4b8939.pth
24b788b4a777748377cc20364eea4ae113c8c42f4468c16bc8c02fdae5492af9 1719154104 sd-inpainting-unet.safetensors
4fbcf0ebe55a0984f5a5e00d8c4521d52359af7229bb4d81890039d2aa16dd7c  167335342 sd-inpainting-vae.safetensors
77795e2023adcf39bc29a884661950380bd093cf0750a966d473d1718dc9ef4e  246144864 sd-inpainting-text.safetensors
e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349    1059962 sd-inpainting-vocab.json
9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a     524619 sd-inpainting-merges.txt
8f90d840e075ff588a58e22c6586e2ae9a6f7922996ee6649a7f01072333afe4  134621556 lcm-lora-sd15.safetensors
db169d69145ec4ff064e49d99c95fa05d3eb04ee453de35824a6d0f325513549    9793292 taesd.safetensors
""")


def rembg_release(file_name: str, asset: str | None = None) -> UrlSource:
    """A file among rembg's release assets, where it may have another name."""
    address = f"https://github.com/danielgatis/rembg/releases/download/v0.0.0/{asset or file_name}"
    return UrlSource("rembg's release", (Member(file_name, address),))


def _rembg(
    name: str,
    use: str,
    weights_licence: str,
    origin: str,
    *,
    asset: str | None = None,
    commercial: bool = True,
) -> Checkpoint:
    """A checkpoint that rembg runs, named as rembg names it and its file."""
    file_name = f"{name}.onnx"
    return Checkpoint(
        name=name,
        tool="bg-removal",
        use=f"{use}; needs rembg",
        profile=Profile.GENERATIVE,
        files=(_FILES[file_name],),
        sources=(rembg_release(file_name, asset),),
        carrier_licence="MIT",
        weights_licence=weights_licence,
        origin=origin,
        commercial=commercial,
    )


def _segment_anything(name: str, use: str, file_name: str) -> Checkpoint:
    address = f"https://dl.fbaipublicfiles.com/segment_anything/{file_name}"
    return Checkpoint(
        name=name,
        tool="magic-select",
        use=f"{use}; needs torch",
        profile=Profile.GENERATIVE,
        files=(_FILES[file_name],),
        sources=(UrlSource("Meta's download", (Member(file_name, address),)),),
        carrier_licence="Apache-2.0",
        weights_licence="Apache-2.0",
        origin="facebookresearch/segment-anything",
    )


def _hub(repository: str, revision: str, **paths: str) -> UrlSource:
    """Files at one revision of a repository on the Hugging Face hub, by their names here."""
    base = f"https://huggingface.co/{repository}/resolve/{revision}"
    return UrlSource(repository, tuple(Member(name, f"{base}/{path}") for name, path in paths.items()))


_DIFFUSION = (
    Checkpoint(
        name="stable-diffusion-inpainting",
        tool="generative-fill",
        use="follows prompts, in fill and expand; needs torch",
        profile=Profile.GENERATIVE,
        files=tuple(file for name, file in _FILES.items() if name.startswith("sd-inpainting-")),
        sources=(
            _hub(
                "stable-diffusion-v1-5/stable-diffusion-inpainting",
                "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb",
                **{
                    "sd-inpainting-unet.safetensors": "unet/diffusion_pytorch_model.fp16.safetensors",
                    "sd-inpainting-vae.safetensors": "vae/diffusion_pytorch_model.fp16.safetensors",
                    "sd-inpainting-text.safetensors": "text_encoder/model.fp16.safetensors",
                    "sd-inpainting-vocab.json": "tokenizer/vocab.json",
                    "sd-inpainting-merges.txt": "tokenizer/merges.txt",
                },
            ),
        ),
        carrier_licence="CreativeML OpenRAIL-M",
        # Allows commercial use. Attachment A lists uses that are not allowed, to whoever is served either.
        weights_licence="CreativeML OpenRAIL-M",
        origin="Runway, from CompVis and Stability AI's Stable Diffusion 1.5",
    ),
    Checkpoint(
        name="lcm-lora-sd15",
        tool="generative-fill",
        use="prompts in 4 steps instead of 25",
        profile=Profile.GENERATIVE,
        files=(_FILES["lcm-lora-sd15.safetensors"],),
        sources=(
            _hub(
                "latent-consistency/lcm-lora-sdv1-5",
                "cf2fced511dbe7e26c8d1d397e728fbab875db4b",
                **{"lcm-lora-sd15.safetensors": "pytorch_lora_weights.safetensors"},
            ),
        ),
        carrier_licence="CreativeML OpenRAIL++-M",
        weights_licence="CreativeML OpenRAIL++-M",
        origin="latent-consistency (Luo et al. 2023)",
    ),
    Checkpoint(
        name="taesd",
        tool="generative-fill",
        use="a quick autoencoder for prompts on a processor",
        profile=Profile.GENERATIVE,
        files=(_FILES["taesd.safetensors"],),
        # No revision of it is known for certain; its SHA-256 is, which pins it as well.
        sources=(
            _hub(
                "madebyollin/taesd",
                "main",
                **{"taesd.safetensors": "diffusion_pytorch_model.safetensors"},
            ),
        ),
        carrier_licence="MIT",
        weights_licence="MIT",
        origin="madebyollin/taesd",
    ),
)


OPTIONAL_CHECKPOINTS = (
    _rembg("u2net", "general", "Apache-2.0", "xuebinqin/U-2-Net"),
    _rembg("u2net_human_seg", "people", "Apache-2.0", "xuebinqin/U-2-Net"),
    _rembg("silueta", "general, small", "not stated", "rembg, from U-2-Net", commercial=False),
    _rembg("isnet-anime", "drawings", "Apache-2.0", "SkyTNT/anime-segmentation"),
    _rembg(
        "birefnet-general-lite",
        "fine edges",
        "MIT",
        "ZhengPeng7/BiRefNet",
        asset="BiRefNet-general-bb_swin_v1_tiny-epoch_232.onnx",
    ),
    _rembg(
        "birefnet-general",
        "finest edges, slow",
        "MIT",
        "ZhengPeng7/BiRefNet",
        asset="BiRefNet-general-epoch_244.onnx",
    ),
    _segment_anything("sam-vit-b", "quality", "sam_vit_b_01ec64.pth"),
    _segment_anything("sam-vit-l", "more quality", "sam_vit_l_0b3195.pth"),
    _segment_anything("sam-vit-h", "most quality", "sam_vit_h_4b8939.pth"),
    *_DIFFUSION,
)
