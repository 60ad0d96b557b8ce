"""Importing the catalogue of tools must not load engines."""

import subprocess
import sys

LIGHT_ENGINE_MODULES = {"ml.engines", "ml.engines.network_facts"}
HEAVY_LIBRARIES = {"cv2", "openvino", "onnxruntime", "torch", "diffusers", "transformers", "rembg"}


def test_importing_the_catalogue_loads_neither_engines_nor_opencv() -> None:
    program = "import sys, ml.catalogue; print(*sys.modules)"
    imported = set(subprocess.check_output([sys.executable, "-c", program], text=True).split())
    engines = {name for name in imported if name.partition("ml.engines")[1]}
    assert engines == LIGHT_ENGINE_MODULES
    assert not imported & HEAVY_LIBRARIES
