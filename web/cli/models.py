"""`bgeraser models …`: list, install and verify checkpoints.

Results go to stdout, progress and warnings to stderr.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.settings import Settings
from ml.checkpoints import digests, registry
from ml.checkpoints.registry import CHECKPOINTS, Checkpoint, Profile, State
from ml.engines.network_facts import ERASING_FACTS, PATCHMATCH

if TYPE_CHECKING:
    from web.cli.model_timing import Timing

app = typer.Typer(help="Checkpoints: the weights that the tools run on.", no_args_is_help=True)

# The server is not useful without a checkpoint for this tool.
ESSENTIAL_TOOL = "bg-removal"


class Selection(StrEnum):
    EMBEDDED = "embedded"
    GENERATIVE = "generative"
    ALL = "all"


_PROFILES = {
    Selection.EMBEDDED: {Profile.EMBEDDED},
    Selection.GENERATIVE: {Profile.GENERATIVE},
    Selection.ALL: {Profile.EMBEDDED, Profile.GENERATIVE},
}

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Checkpoints by name.")]
ProfileOption = Annotated[Selection | None, typer.Option("--profile", help="All checkpoints of a profile.")]


@app.command("list")
def list_(
    names: Names = None,
    profile: ProfileOption = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Time those that are installed on this machine.")
    ] = False,
) -> None:
    """List checkpoints with size, state, use, licences and source. All of them by default."""
    selected = _selected(names, profile, Selection.ALL)
    if not measure:
        _print_list(_models_dir(), selected)
        return
    from web.cli.model_timing import Timing

    settings = Settings.load()
    with Timing(settings.models_path, settings.device, settings.worker_memory_mb) as timing:
        _print_list(settings.models_path, selected, timing)


@app.command()
def pull(
    names: Names = None,
    profile: ProfileOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before large downloads.")] = False,
    quiet_if_installed: Annotated[
        bool, typer.Option("--quiet-if-installed", help="Print nothing if everything is installed.")
    ] = False,
    optional: Annotated[
        bool, typer.Option("--optional", help="Try the named ones for a short time; go on without them.")
    ] = False,
) -> None:
    """Install checkpoints, the embedded profile by default. Run it again to resume.

    A name like owner/name is a pipeline on the Hugging Face Hub.
    """
    from ml.checkpoints.fetching import downloads, hub, pull
    from web.cli import pull_progress

    models_dir = _models_dir()
    mirror = Settings.load().models_mirror
    from_hub = [name for name in names or () if hub.is_repository_name(name)]
    if from_hub:
        names = [name for name in names or () if name not in from_hub]
        if not _pull_from_hub(models_dir, from_hub, mirror, yes=yes):
            raise typer.Exit(1)
        if not names and profile is None:
            return
    if optional and (not names or profile is not None):
        raise typer.BadParameter("--optional is for checkpoints that are named")
    selected = _selected(names, profile, Selection.EMBEDDED)
    missing = [one for one in selected if registry.state(models_dir, one) is not State.INSTALLED]
    if profile in (Selection.GENERATIVE, Selection.ALL) and not yes:
        _confirm(models_dir, [one for one in missing if one.profile is Profile.GENERATIVE])
    try:
        with pull_progress.shown(verbose=not quiet_if_installed, failures=not optional) as progress:
            patience = downloads.BRIEF if optional else downloads.PATIENT
            pulled = pull.pull(models_dir, selected, progress, mirror, patience)
    except OSError as error:
        raise _unusable(models_dir, error) from None
    if not missing and not quiet_if_installed:
        typer.echo(f"All selected checkpoints are installed in {models_dir}", err=True)
    for one in missing:
        if not one.commercial and registry.state(models_dir, one) is State.INSTALLED:
            typer.echo(f"Note: the licence of {one.name} does not clearly allow commercial use", err=True)
    failed = [result for result in pulled if result.state is not State.INSTALLED]
    if optional:
        for result in failed:
            _note_absence(result.checkpoint, result.problems)
        return
    for result in failed:
        _report_failure(models_dir, result.checkpoint, result.problems)
    # A missing embedded checkpoint is not an error unless it was requested or the essential tool needs it.
    was_requested = bool(names) or any(one.checkpoint.profile is Profile.GENERATIVE for one in failed)
    if failed and (was_requested or not _installed_for(models_dir, ESSENTIAL_TOOL)):
        raise typer.Exit(1)


def _pull_from_hub(models_dir: Path, names: list[str], mirror: Path | None, *, yes: bool) -> bool:
    """Install pipelines of the hub. Each is attempted; False if one of them failed."""
    try:
        results = [_pull_repository(models_dir, name, mirror, yes=yes) for name in names]
    except OSError as error:
        raise _unusable(models_dir, error) from None
    return all(results)


def _pull_repository(models_dir: Path, name: str, mirror: Path | None, *, yes: bool) -> bool:
    from ml.checkpoints import licences
    from ml.checkpoints.fetching import hub, repositories
    from ml.checkpoints.types import SourceFailed, repository_dir
    from web.cli import pull_progress

    if repositories.is_installed(models_dir, name):
        typer.echo(f"{name}: already installed", err=True)
        return True
    if mirror is not None and repositories.copy_from_mirror(models_dir, name, mirror):
        typer.echo(f"{name}: installed from the mirror folder", err=True)
        _print_licence(licences.read_licence(repository_dir(models_dir, name)))
        return True
    try:
        repository = hub.find_repository(name)
        size = f"{repository.size_bytes / 1e6:,.1f} MB"
        typer.echo(f"{repository.name} at {repository.revision[:12]}: {size}", err=True)
        _print_licence(repository.licence)
        if not yes:
            typer.confirm(f"Download {repository.size_bytes / 1e9:.1f} GB?", err=True, abort=True)
        with pull_progress.shown() as progress:
            repositories.pull(models_dir, repository, progress)
    except SourceFailed as error:
        typer.echo(f"{name} could not be installed: {error}", err=True)
        return False
    typer.echo(f"{name}: installed. Use it with BGERASER_INPAINT_CHECKPOINT={name}", err=True)
    return True


def _print_licence(licence: str | None) -> None:
    from ml.checkpoints import licences

    typer.echo(f"  weights: {licence or 'no licence stated'}", err=True)
    if licence is not None and licences.forbids_commercial_use(licence):
        typer.echo(
            "  It forbids commercial use: serving it needs BGERASER_ALLOW_NONCOMMERCIAL=true.", err=True
        )


def _unusable(models_dir: Path, error: OSError) -> typer.Exit:
    typer.echo(f"Cannot use the models directory {models_dir}: {error.strerror or error}", err=True)
    return typer.Exit(1)


@app.command()
def verify(names: Names = None, profile: ProfileOption = None) -> None:
    """Verify the hashes of checkpoints, by default of all installed ones.

    Fails if one is damaged, or missing although it was named.
    """
    models_dir = _models_dir()
    was_selected = bool(names) or profile is not None
    damaged, missing, intact = [], [], []
    for checkpoint in _selected(names, profile, Selection.ALL):
        paths = [(models_dir / file.file_name, file) for file in checkpoint.files]
        present = [(path, file) for path, file in paths if path.is_file()]
        bad = [path.name for path, file in present if not digests.verify(path, file.sha256)]
        if bad:
            damaged.append(checkpoint)
            typer.echo(f"{checkpoint.name}: DAMAGED: {', '.join(bad)}. {_install_hint(checkpoint)}", err=True)
        elif len(present) < len(paths):
            missing.append(checkpoint)
            if was_selected or present:
                typer.echo(f"{checkpoint.name}: not installed. {_install_hint(checkpoint)}", err=True)
        else:
            intact.append(checkpoint)
            typer.echo(f"{checkpoint.name}: intact")
    if not intact and not damaged and not was_selected:
        typer.echo(f"No checkpoint is installed in {models_dir}", err=True)
        raise typer.Exit(1)
    if damaged or (was_selected and missing):
        raise typer.Exit(1)


def _models_dir() -> Path:
    return Settings.load().models_path


def _selected(names: list[str] | None, profile: Selection | None, default: Selection) -> list[Checkpoint]:
    """The named checkpoints and those of the profile; those of `default` if neither is given."""
    unknown = [name for name in names or () if name not in CHECKPOINTS]
    if unknown:
        raise typer.BadParameter(f"no checkpoint {unknown[0]!r}; there are: {', '.join(CHECKPOINTS)}")
    if not names and profile is None:
        profile = default
    profiles = _PROFILES[profile] if profile is not None else set()
    return [one for one in CHECKPOINTS.values() if one.name in (names or ()) or one.profile in profiles]


def _print_list(
    models_dir: Path, rows: Sequence[Checkpoint], timing: "Timing | None" = None, *, err: bool = False
) -> None:
    """A few short lines each, which fit any terminal. The state is on the first line, for grep."""
    for profile in Profile:
        group = [one for one in rows if one.profile is profile]
        if group:
            megabytes = sum(one.size_bytes for one in group) / 1e6
            typer.secho(f"Profile {profile}, {megabytes:,.0f} MB", bold=True, err=err)
        for one in group:
            state = registry.state(models_dir, one)
            size = f"{one.size_bytes / 1e6:,.1f} MB"
            typer.echo(f"  {one.name:<22} {size:>10}  {state:<13}  {one.tool}: {one.use}", err=err)
            source = " or ".join(map(str, one.sources))
            licences = f"weights: {one.weights_licence} | carrier: {one.carrier_licence}"
            typer.echo(f"    {licences} | {source}", err=err)
            use = "allowed" if one.commercial else "not clearly allowed"
            typer.echo(f"    commercial use: {use}", err=err)
            if timing is not None and state is State.INSTALLED:
                typer.echo(f"    measured: {timing.describe(one)}", err=err)


def _confirm(models_dir: Path, large: Sequence[Checkpoint]) -> None:
    if not large:
        return
    _print_list(models_dir, large, err=True)
    gigabytes = sum(one.size_bytes for one in large) / 1e9
    typer.confirm(f"Download these {len(large)} checkpoints, {gigabytes:.1f} GB?", err=True, abort=True)


def _report_failure(models_dir: Path, checkpoint: Checkpoint, problems: Iterable[str]) -> None:
    """Print which checkpoint is missing, why each source failed, and what still works."""
    typer.echo(f"\n{checkpoint.name} is missing ({checkpoint.tool}: {checkpoint.use}):", err=True)
    for problem in problems:
        typer.echo(f"  {problem}", err=True)
    alternatives = _installed_for(models_dir, checkpoint.tool)
    if checkpoint.name in ERASING_FACTS:
        alternatives.append(PATCHMATCH)
    if alternatives:
        typer.echo(f"  {checkpoint.tool} still works with {', '.join(alternatives)}.", err=True)
    else:
        typer.echo(f"  {checkpoint.tool} does not work until it is installed.", err=True)
    typer.echo(f"  {_install_hint(checkpoint)}", err=True)


def _note_absence(checkpoint: Checkpoint, problems: Sequence[str]) -> None:
    """Say in one line that an optional checkpoint is missing and what that means."""
    meaning = (
        f"fill, expand and heal use {PATCHMATCH}, which copies from the surroundings"
        if checkpoint.name in ERASING_FACTS
        else f"{checkpoint.tool} works without it"
    )
    reason = problems[-1] if problems else "it is damaged"
    typer.echo(
        f"{checkpoint.name} is not installed ({reason}): {meaning}. {_install_hint(checkpoint)}", err=True
    )


def _installed_for(models_dir: Path, tool: str) -> list[str]:
    return [one.name for one in CHECKPOINTS.values() if one.tool == tool and _is_installed(models_dir, one)]


def _is_installed(models_dir: Path, checkpoint: Checkpoint) -> bool:
    return registry.state(models_dir, checkpoint) is State.INSTALLED


def _install_hint(checkpoint: Checkpoint) -> str:
    return f"Install it with: {checkpoint.command}"
