"""Imports Gradio, without what it does only for its own developers."""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType

_COMPONENT_META = "gradio.component_meta"
#: By default Gradio keeps the last 10,000 events and builds a table of them after each one.
_NO_STATISTICS = {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**62)}


def import_gradio() -> ModuleType:
    """Takes seconds."""
    # Gradio reads these when it is imported. They disable its telemetry and its statistics.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.update(_NO_STATISTICS)
    finder = _WithoutStubs()
    sys.meta_path.insert(0, finder)
    try:
        import gradio
    finally:
        sys.meta_path.remove(finder)
    return gradio


class _WithoutStubs(importlib.abc.MetaPathFinder):
    """Keeps Gradio from parsing the source of each of its components at every import.

    It does so to write type stubs beside them, which takes a quarter of a server's whole start.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _COMPONENT_META:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        module.create_or_modify_pyi = lambda *_: None  # type: ignore[attr-defined]
