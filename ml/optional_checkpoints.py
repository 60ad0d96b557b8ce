"""The part of the table that is never needed to run: larger checkpoints from their publishers' own addresses.

Only files whose SHA-256 is known for certain are listed: there is no checkpoint without a pin.
"""

from ml.provenance import Checkpoint, Member, Profile, UrlSource, read_pins

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
)
