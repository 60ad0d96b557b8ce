"""The application as a whole."""

import subprocess
import sys


def test_importing_the_api_loads_no_image_or_ml_library() -> None:
    script = (
        "import sys, api.http.app\n"
        "heavy = {'openvino', 'onnxruntime', 'cv2', 'torch', 'rembg', 'pymatting', 'gradio', 'pillow_heif',\n"
        " 'dbos'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
