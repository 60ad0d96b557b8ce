"""The modules with which Gradio's client starts.

Each module names the next ones only once it was loaded, so a browser waits for the network several times
before the client draws anything. Pages name them ahead, so that browsers load them at once.
"""

import re
from pathlib import Path

_ENTRY = re.compile(r'<script\b[^>]*type="module"[^>]*src="\./assets/([\w.-]+\.js)"')
#: The list of files that the client's build puts at the beginning of a module that loads others later.
_LATER = re.compile(r"\bm\.f=\[([^\]]*)\]")
_MODULE = re.compile(r'"\./([\w.-]+\.js)"')
#: What draws the page. It is loaded after the modules of the entry.
_PAGE = re.compile(r"\./(Blocks-[\w-]+\.js)")


def first_modules(assets: Path) -> tuple[str, ...]:
    """Paths like `assets/core-Bdx9080F.js`; none if the client's build has another form.

    `assets` is the folder of the build.
    """
    entry = _ENTRY.search((assets.parent / "index.html").read_text(encoding="utf-8"))
    if entry is None:
        return ()
    names = [entry[1]]
    later = _LATER.search((assets / entry[1]).read_text(encoding="utf-8"))
    if later is not None:
        names += _MODULE.findall(later[1])
    names += _PAGE.findall("".join(_read(assets / name) for name in names))
    return tuple(f"assets/{name}" for name in dict.fromkeys(names) if (assets / name).is_file())


def _read(module: Path) -> str:
    return module.read_text(encoding="utf-8") if module.is_file() else ""
