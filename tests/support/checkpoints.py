"""The real checkpoints for tests, fetched once into a directory that all runs share."""

import functools
import os
from pathlib import Path

import typer

from ml.checkpoints import registry
from ml.checkpoints.fetching import pull
from ml.checkpoints.registry import CHECKPOINTS, Profile, State
from web.cli import pull_progress

_REPOSITORY = Path(__file__).resolve().parents[2]


@functools.cache
def models_dir() -> Path:
    """$BGERASER_MODELS_DIR, else data/models of the repository, holding the whole embedded profile.

    What is missing is pulled; several runs at once wait for each other. Fails if it cannot be had: a test
    that needs a checkpoint is never skipped.
    """
    configured = os.environ.get("BGERASER_MODELS_DIR")
    directory = Path(configured).resolve() if configured else _REPOSITORY / "data" / "models"
    embedded = [one for one in CHECKPOINTS.values() if one.profile is Profile.EMBEDDED]
    if any(registry.state(directory, one) is not State.INSTALLED for one in embedded):
        typer.echo(f"Fetching the embedded checkpoints into {directory}, once", err=True)
        with pull_progress.shown() as progress:
            pulled = pull.pull(directory, embedded, progress)
        problems = [f"{one.checkpoint.name}: {'; '.join(one.problems)}" for one in pulled if one.problems]
        assert all(one.state is State.INSTALLED for one in pulled), "\n".join(problems)
    return directory
