"""`bgeraser models pull owner/name`: pipelines of the hub that are in no table of ours."""

from collections.abc import Sequence
from pathlib import Path

import typer

from ml.checkpoints import licences
from ml.checkpoints.fetching import hub, repositories
from ml.checkpoints.fetching.hub import Repository
from ml.checkpoints.types import SourceFailed, repository_dir


def pull(models_dir: Path, names: Sequence[str], mirror: Path | None, *, yes: bool) -> bool:
    """Install each, asking first unless `yes`. False if one could not be had. Raises OSError."""
    done = [_pull_one(models_dir, name, mirror, yes=yes) for name in names]  # each is tried
    return all(done)


def _pull_one(models_dir: Path, name: str, mirror: Path | None, *, yes: bool) -> bool:
    from web.cli import pull_progress

    if repositories.is_installed(models_dir, name):
        typer.echo(f"{name}: there already", err=True)
        return True
    if mirror is not None and repositories.copy_from_mirror(models_dir, name, mirror):
        typer.echo(f"{name}: installed from the mirror folder", err=True)
        _tell_terms(licences.read_licence(repository_dir(models_dir, name)))
        return True
    try:
        repository = hub.find_repository(name)
        _show(repository)
        if not yes:
            typer.confirm(f"Download {repository.size_bytes / 1e9:.1f} GB?", err=True, abort=True)
        with pull_progress.shown() as progress:
            repositories.pull(models_dir, repository, progress)
    except SourceFailed as error:
        typer.echo(f"{name} cannot be had: {error}", err=True)
        return False
    typer.echo(f"{name}: installed; serve it with BGERASER_INPAINT_CHECKPOINT={name}", err=True)
    return True


def _show(repository: Repository) -> None:
    size = f"{repository.size_bytes / 1e6:,.1f} MB"
    typer.echo(f"{repository.name} at {repository.revision[:12]}: {size}", err=True)
    _tell_terms(repository.licence)


def _tell_terms(licence: str | None) -> None:
    typer.echo(f"  weights: {licence or 'no licence stated'}", err=True)
    if licence is not None and licences.forbids_commercial_use(licence):
        typer.echo(
            "  It forbids commercial use: serving it needs BGERASER_ALLOW_NONCOMMERCIAL=true.", err=True
        )
