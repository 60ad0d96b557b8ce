"""Colour described by code points (ITU-T H.273), used by AVIF, HEIC and new PNGs instead of a profile.

Code points of wide gamuts are converted to an ICC profile, so that there is one conversion path. High dynamic
range (PQ, HLG) is not tone-mapped but treated as standard range.
"""

from ml.imaging.formats import display_profile

# Primaries as XYZ under D50, adapted from D65 by Bradford's method: red, green, blue. What is not here counts
# as sRGB: BT.709, whose primaries sRGB's are, and unknown ones.
_PRIMARIES = {
    9: ((0.67348, 0.27904, -0.00193), (0.16567, 0.67534, 0.02997), (0.12505, 0.04561, 0.79686)),  # BT.2020
    12: ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),  # P3
}
# Transfer curves treated like sRGB's: BT.709, unspecified, BT.601, sRGB, BT.2020.
_LIKE_SRGB = {1, 2, 6, 13, 14, 15}


def icc_profile(primaries: int, transfer: int) -> bytes | None:
    """An ICC profile of these code points; None where they are sRGB's, unknown, or of high dynamic range."""
    if primaries not in _PRIMARIES or transfer not in _LIKE_SRGB:
        return None
    return display_profile.build(_PRIMARIES[primaries])
