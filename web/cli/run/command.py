"""The command `bgeraser run`: its options, what they mean together, and the exit status.

0: every picture has a result. 1: at least one failed, or the run stopped. 2: the command line is wrong.
130 and 143: ended by Ctrl-C or SIGTERM, which is the usual end of `--watch` and 0 there.
"""

import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.settings import Settings
from web.cli.run import signals

if TYPE_CHECKING:
    from web.cli.run.inputs import Found
    from web.cli.run.outputs import OutputFolder, Target
    from web.cli.run.parameters import RunParameters
    from web.cli.run.reporting import Report
    from web.cli.run.types import Runner
    from web.cli.run.watching import Settling

_STANDARD = "-"
_SUFFIXES = {".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".webp": "webp", ".avif": "avif"}
#: Formats of pictures that no result has. Taken for a folder, such a name would surprise.
_OTHER_SUFFIXES = frozenset(
    {
        ".apng", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jxl", ".pdf", ".psd", ".svg",
        ".tif", ".tiff",
    }
)  # fmt: skip
_STDIN_NAME = Path("stdin")


@dataclass(frozen=True)
class _Options:
    out: Path | None  # a folder; None: one result, to `file` or stdout
    file: Path | None
    skip_existing: bool
    watch: bool
    jobs: int | None
    as_json: bool
    url: str | None  # None: on this machine
    key: str
    is_fresh: bool


def run(
    tool: Annotated[str, typer.Argument(help="The tool, for example bg-removal.", show_default=False)],
    files: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, and folders that are read with their subfolders; - reads one from stdin.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder of the results; for one picture also its file, or - for stdout."
            " Default: a folder named after the tool.",
        ),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(
            "--param", "-p", metavar="NAME=VALUE", help="A parameter of the tool; NAME=@PATH for a file."
        ),
    ] = None,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Skip pictures that have a result.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on with pictures that are put into the folders.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=64,
            help="Pictures at a time. Default: by cores and memory, or by the plan.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line for each picture.")] = False,
    url: Annotated[
        str | None,
        typer.Option(envvar="BGERASER_URL", help="A server to call instead of working on this machine."),
    ] = None,
    key: Annotated[str | None, typer.Option(envvar="BGERASER_KEY", help="The API key for it.")] = None,
    local: Annotated[
        bool, typer.Option("--local", help="Work on this machine whatever the environment says.")
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Let the server do again, and charge again, what it did in the last 24 hours."
        ),
    ] = False,
) -> None:
    """Run a tool on many pictures, on this machine without a server, or through the API of one."""
    from web.cli.run import inputs, parameters, streams
    from web.cli.run.reporting import Report, StderrConsole
    from web.cli.run.types import RunStopped

    # An empty path would mean the current folder, whose pictures nobody has asked to pay for.
    for name, value in [
        ("TOOL", tool),
        *(("FILES", one) for one in files),
        ("--out", out),
        ("--url", url),
        ("--key", key),
    ]:
        if value == "":
            raise _usage(f"{name}: an argument is empty; is a variable not set?")
    if not local and (url is None) != (key is None):
        missing = "BGERASER_KEY (or --key)" if key is None else "BGERASER_URL (or --url)"
        raise _usage(f"To call a server, set {missing} too; --local works without one.")
    if fresh and (local or url is None):
        raise _usage("--fresh is for calls of a server.")
    place = _place(out, files, tool, watch)
    options = _Options(
        place.folder,
        place.file,
        skip_existing,
        watch,
        jobs,
        as_json,
        None if local else url,
        key or "",
        fresh,
    )
    try:
        parsed = parameters.parse(tool, pairs or [], _format_of(options))
    except parameters.WrongParameter as error:
        raise _usage(str(error)) from None
    if options.file is not None and _format_of(options) != parsed.params.format:
        raise _usage(f"format: {options.file.name} would not be a {parsed.params.format} file.")
    _require_streams(options, files)
    streams.fill_closed()
    report = Report(StderrConsole(), as_json=as_json, lists_results=watch)
    # Workers that are replaced during a run are not the user's concern.
    logging.getLogger("ml").setLevel(logging.ERROR)
    try:
        if options.out is None:
            succeeded = _run_one(files[0], parsed, options, report)
        else:
            paths = [Path(name) for name in files]
            succeeded = _run_many(paths, inputs.find(paths, options.out), parsed, options, report)
    except RunStopped as stopped:
        report.note(f"bgeraser run: {stopped}")
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, signals.Interrupted) as error:
        number = error.number if isinstance(error, signals.Interrupted) else signal.SIGINT
        if watch:
            report.summarize()
            return
        raise typer.Exit(128 + number) from None
    if not succeeded:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Place:
    folder: Path | None = None
    file: Path | None = None


def _place(out: str | None, files: list[str], tool: str, watch: bool) -> _Place:
    """Where results go: a folder, a file, or stdout."""
    reads_stdin = _STANDARD in files
    if reads_stdin and len(files) > 1:
        raise _usage("- for stdin is the only picture of a run.")
    if watch and (reads_stdin or not all(Path(name).is_dir() for name in files)):
        raise _usage("--watch is for folders.")
    is_one = len(files) == 1 and not Path(files[0]).is_dir()
    if out == _STANDARD or (out is None and reads_stdin):
        if not is_one:
            raise _usage("--out - is for one picture.")
        return _Place()
    folder = Path(tool if out is None else out)
    is_folder = folder.is_dir() or (out is not None and out.endswith(("/", os.sep)))
    if folder.suffix.lower() in _SUFFIXES and not is_folder:
        if not is_one:
            raise _usage(f"--out {out} is a file, and there may be several results: name a folder.")
        return _Place(file=folder)
    if folder.suffix.lower() in _OTHER_SUFFIXES and not is_folder:
        raise _usage(f"--out {out}: the suffix of a result is one of {', '.join(_SUFFIXES)}.")
    if reads_stdin:
        raise _usage("For stdin, --out names the file of the result, with a suffix such as .png.")
    if any(_is_same(Path(name), folder) for name in files):
        raise _usage("The output folder is the input folder, whose results would be read next time.")
    return _Place(folder=folder)


def _require_streams(options: _Options, files: list[str]) -> None:
    """Streams that the run needs are open, and stdout is not needed twice."""
    goes_to_stdout = options.out is None and options.file is None
    if _STANDARD in files and sys.stdin is None:
        raise _usage("stdin is closed.")
    if goes_to_stdout and options.as_json:
        raise _usage("--json and the picture would both go to stdout: use --out.")
    if (goes_to_stdout or options.as_json) and sys.stdout is None:
        raise _usage("stdout is closed.")
    if goes_to_stdout and sys.stdout.isatty():
        raise _usage("The picture would go to the terminal: redirect stdout, or use --out.")


def _is_same(path: Path, folder: Path) -> bool:
    from web.cli.run.inputs import identity

    return path.is_dir() and identity(path) is not None and identity(path) == identity(folder)


def _format_of(options: _Options) -> str | None:
    return None if options.file is None else _SUFFIXES[options.file.suffix.lower()]


def _usage(message: str) -> typer.Exit:
    """Print what is wrong with the command line, in one line."""
    from web.cli.run import reporting

    typer.echo(f"bgeraser run: {reporting.printable(message)}", err=True)
    return typer.Exit(2)


def _run_one(name: str, parsed: "RunParameters", options: _Options, report: "Report") -> bool:
    """A picture whose result goes to stdout or to a file that was named."""
    from dataclasses import replace

    from web.cli.run import outputs, parameters, pipeline, streams
    from web.cli.run.inputs import identity
    from web.cli.run.types import Outcome, PictureFailed, Source, Status

    target = options.file
    source = _STDIN_NAME if name == _STANDARD else Path(name)
    if target is not None:
        if name != _STANDARD and identity(target) is not None and identity(target) == identity(source):
            raise _usage(f"{target} is the input itself.")
        _require_writable(target.parent)
        if options.skip_existing and target.is_file():
            report.add(Outcome(source, Status.SKIPPED, target))
            return True

    # Before the event loop runs, which would not let Ctrl-C interrupt it.
    sent = streams.read_stdin(parameters.LARGEST_FILE_BYTES) if name == _STANDARD else None

    async def work() -> bool:
        try:
            runner = await _open_runner(parsed, options, 1, report)
            try:
                limit = runner.file_limit_bytes
                content = pipeline.read(Source(source), limit) if sent is None else sent
                pipeline.require_content(content)
                if len(content) > limit:
                    raise PictureFailed("FILE_TOO_LARGE", f"is too large: at most {limit // 1024**2} MiB")
                outcome, result = await pipeline.process_one(source, content, runner)
            finally:
                await runner.close()
            if result is not None and target is not None:
                outputs.write(target, result.content)
            elif result is not None:
                streams.write_stdout(result.content)
        except PictureFailed as failure:
            outcome = Outcome(source, Status.FAILED, failure=failure)
        report.add(outcome if outcome.failure is not None else replace(outcome, output=target))
        report.note_warnings()
        return outcome.failure is None

    return signals.until_signalled(work())


def _run_many(
    paths: list[Path], found: "Found", parsed: "RunParameters", options: _Options, report: "Report"
) -> bool:
    """Pictures whose results go to a folder."""
    from web.cli.run import outputs, pipeline, watching
    from web.cli.run.types import UNREADABLE_FILE, Outcome, PictureFailed, RunStopped, Status

    assert options.out is not None
    formats = parsed.result_formats
    folder = outputs.OutputFolder(options.out, parsed.tool.name, formats, found.identities)
    for path, problem in found.problems:
        report.add(Outcome(path, Status.FAILED, failure=PictureFailed(UNREADABLE_FILE, problem)))
    if not found.sources and not options.watch:
        if not found.problems:
            report.note(f"There are no pictures in {', '.join(map(str, paths))}.")
        return not found.problems
    _require_writable(options.out)
    total = None if options.watch else len(found.sources)
    settling = watching.Settling() if options.watch else None

    def add(outcome: Outcome) -> None:
        if settling is not None and outcome.failure is not None and outcome.failure.code == UNREADABLE_FILE:
            settling.unread(outcome.source)
        report.add(outcome)

    async def work() -> bool:
        runner = await _open_runner(parsed, options, total, report)
        try:
            skipping = pipeline.Skipping(options.skip_existing, formats)
            await pipeline.process(_targets(paths, found, folder, options, settling), runner, skipping, add)
        finally:
            await runner.close()
        return True

    finished = False
    try:
        with report.progress(total):
            finished = signals.until_signalled(work())
    except RunStopped as stopped:
        report.note(f"bgeraser run: {stopped}")
    finally:
        if not options.watch:
            report.summarize()
    return finished and not report.counts[Status.FAILED]


async def _targets(
    paths: list[Path],
    found: "Found",
    folder: "OutputFolder",
    options: _Options,
    settling: "Settling | None",
) -> "AsyncIterator[Target]":
    from web.cli.run import watching

    if settling is None:
        for target in folder.assign(found.sources):
            yield target
        return
    assert options.out is not None
    known: dict[object, Target] = {}
    async for sources in watching.settled(paths, options.out, settling):
        new = [source for source in sources if source not in known]
        known.update(zip(new, folder.assign(new), strict=True))
        for source in sources:
            yield known[source]


def _require_writable(folder: Path) -> None:
    from web.cli.run import outputs

    try:
        outputs.require_writable(folder)
    except outputs.UnwritableOutput as error:
        raise _usage(str(error)) from None


async def _open_runner(
    parsed: "RunParameters", options: _Options, pictures: int | None, report: "Report"
) -> "Runner":
    """Raises RunStopped."""
    from web.cli.run.types import RunStopped

    if options.url is not None:
        from web.cli.run.remote import ApiRunner

        api = ApiRunner(options.url, options.key, parsed, options.is_fresh)
        try:
            credits = await api.open(options.jobs)
        except BaseException:
            await api.close()
            raise
        if pictures is not None and pictures > credits:
            report.note(f"Credits: {credits} for up to {pictures} pictures.")
        return api
    from ml.device import NoCudaDevice
    from web.cli.run import local, outputs

    settings = Settings.load()
    cache_dir = settings.data_dir / "cache"
    try:
        outputs.require_writable(cache_dir)  # for compiled engines
    except outputs.UnwritableOutput as error:
        raise RunStopped(f"BGERASER_DATA_DIR is {settings.data_dir}: {error}") from None
    config = local.config(
        settings.models_path,
        cache_dir,
        options.jobs or settings.workers,
        pictures,
        device=settings.device,
        memory_limit_bytes=settings.worker_memory_mb * 1024**2,
        generative=settings.generative,
        precision=settings.precision,
        cpu_limit=settings.cpu_limit,
    )
    try:
        return local.LocalRunner(config, parsed)
    except NoCudaDevice as error:
        raise RunStopped(str(error)) from None
