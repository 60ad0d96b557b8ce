"""Which modules of Gradio's client a page names ahead."""

import re
from pathlib import Path

from gradio.route_utils import BUILD_PATH_LIB

from web.gradio.client_modules import first_modules


def test_the_modules_are_those_that_the_installed_client_starts_with() -> None:
    names = first_modules(Path(BUILD_PATH_LIB))
    assert len(names) == len(set(names))
    assert [name for name in names if not (Path(BUILD_PATH_LIB).parent / name).is_file()] == []
    assert re.fullmatch(r"assets/index-[\w-]+\.js", names[0])
    assert any(name.startswith("assets/core-") for name in names)
    assert any(name.startswith("assets/Blocks-") for name in names)


def test_a_build_of_another_form_has_none(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    page = tmp_path / "index.html"
    page.write_text('<script src="./assets/index.js"></script>')
    assert first_modules(tmp_path / "assets") == ()
    # Files that are named but missing would be requested in vain.
    page.write_text('<script type="module" crossorigin src="./assets/index.js"></script>')
    (tmp_path / "assets" / "index.js").write_text('m.f=["./gone.js","./there.js","./a.css"]')
    (tmp_path / "assets" / "there.js").write_text("import(`./Blocks-1.js`)")
    assert first_modules(tmp_path / "assets") == ("assets/index.js", "assets/there.js")
