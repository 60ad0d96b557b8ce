"""Writes LICENSES.txt in the models directory: origins and licences of the installed weights."""

import os
from collections.abc import Iterable
from pathlib import Path

from ml.checkpoints import registry
from ml.checkpoints.registry import State
from ml.checkpoints.types import Checkpoint

FILE_NAME = "LICENSES.txt"
_HEAD = """\
Checkpoints in this directory, each with the licence of its weights, who published them, and the package or
address they came from. The licence of a carrying package is named for completeness: only the weights were
taken from it. Written by "bgeraser models pull".
"""


def write(models_dir: Path, others: Iterable[Checkpoint] = ()) -> None:
    """Write the file for all installed checkpoints of the registry and of `others`."""
    checkpoints = {**registry.CHECKPOINTS, **{checkpoint.name: checkpoint for checkpoint in others}}
    installed = [one for one in checkpoints.values() if registry.state(models_dir, one) is State.INSTALLED]
    if not installed:
        return
    text = "\n".join([_HEAD, *map(_entry, installed)])
    target = models_dir / FILE_NAME
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return
    temporary = target.with_name(f".{FILE_NAME}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(target)


def _entry(checkpoint: Checkpoint) -> str:
    terms = "" if checkpoint.commercial else " (commercial use is not clearly allowed)"
    return (
        f"{checkpoint.name}\n"
        f"  files:            {', '.join(file.file_name for file in checkpoint.files)}\n"
        f"  weights:          {checkpoint.weights_licence}{terms}\n"
        f"  published by:     {checkpoint.origin}\n"
        f"  carried by:       {' or '.join(map(str, checkpoint.sources))}\n"
        f"  carrier's own:    {checkpoint.carrier_licence}\n"
    )
