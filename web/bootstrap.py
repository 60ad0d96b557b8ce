"""Opens database, storage and backend according to the settings, for the server and for commands."""

import importlib.util
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from api import logging_setup
from api.db.database import Database
from api.db.migrations import upgrade
from api.images.bucket_storage import BucketAddress, BucketStorage
from api.images.local_storage import LocalStorage
from api.images.storage import Storage
from api.services import Services
from api.settings import Settings, WrongSettings
from ml.backend import Backend
from ml.runtime.cluster.families import DEFAULT_SIZES
from ml.runtime.local import LocalBackend, LocalConfig

if TYPE_CHECKING:
    from ml.runtime.cluster.backend import ClusterConfig


def open_services(settings: Settings) -> Services:
    """Open the services and apply database migrations. The workers are not started.

    Raises `MissingSecret` if a required secret is missing, `WrongSettings` and `ValueError` for an unusable
    directory, database or storage address, and `ServiceUnavailable` if the database does not respond.
    """
    _require_writable("BGERASER_DATA_DIR", settings.data_dir)
    storage = _open_storage(settings)
    try:
        upgrade.migrate(settings.database_address)
    except OSError as error:
        raise WrongSettings(f"The database file cannot be opened: {_reason(error)}.") from None
    return Services.of(
        settings,
        Database(settings.database_address),
        storage,
        _backend(settings),
    )


def open_server_services(settings: Settings) -> Services:
    """As `open_services`, for a process that serves: with its logs and, if they are wanted, traces."""
    if settings.otlp_endpoint is None:
        logging_setup.set_up(settings.log_format)
        return open_services(settings)
    # Imported here, because only this setting needs their packages.
    from api.http.app import VERSION
    from api.tracing import spans
    from api.tracing.export import TraceExport

    logging_setup.set_up(settings.log_format, processors=[spans.add_ids])
    services = open_services(settings)
    export = TraceExport(settings.otlp_endpoint, VERSION)
    return replace(services, tracer=spans.Tracer(export.provider, export.close))


@contextmanager
def services_for_command(settings: Settings) -> Iterator[Services]:
    """As `open_services`; the services are closed at the end of the block."""
    services = open_services(settings)
    try:
        yield services
    finally:
        services.backend.close()
        services.database.close()


def _backend(settings: Settings) -> Backend:
    if settings.ml_backend == "local":
        return LocalBackend(_local_config(settings))
    require_cluster_library()
    from ml.runtime.cluster.backend import ClusterBackend
    from ml.runtime.cluster.connection import NoToken

    try:
        return ClusterBackend(cluster_config(settings))
    except NoToken as error:
        raise WrongSettings(f"BGERASER_ML_BACKEND=ray: {error}.") from None


def require_cluster_library() -> None:
    """Raises WrongSettings if the extra `cluster` is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise WrongSettings('BGERASER_ML_BACKEND=ray needs Ray: pip install "bgeraser[cluster]".')


def cluster_config(settings: Settings) -> "ClusterConfig":
    """The settings of a Ray cluster. The paths are those of its machines too."""
    from ml.runtime.cluster.backend import ClusterConfig
    from ml.runtime.cluster.replica import ReplicaConfig

    return ClusterConfig(
        address=settings.ray_address,
        # The device is that of each machine, the threads those of each family.
        replica=ReplicaConfig(
            _local_config(settings).worker(settings.device, 1), mirror=settings.models_mirror
        ),
        sizes={**DEFAULT_SIZES, **settings.ray_families},
        queue_size=settings.queue_size,
    )


def _local_config(settings: Settings) -> LocalConfig:
    return LocalConfig(
        models_dir=settings.models_path,
        cache_dir=settings.data_dir / "cache",
        device=settings.device,
        workers=settings.workers,
        memory_limit_bytes=settings.worker_memory_mb * 1024**2,
        queue_size=settings.queue_size,
        generative=settings.generative,
        precision=settings.precision,
        cpu_limit=settings.cpu_limit,
    )


def _open_storage(settings: Settings) -> Storage:
    url = settings.storage_url
    if url is not None and url.startswith("s3:"):
        try:
            address = BucketAddress.parse(url)
        except ValueError as error:
            raise WrongSettings(f"BGERASER_STORAGE_URL: {error}.") from None
        return BucketStorage(address, settings.data_dir / "unfinished", signs_urls=settings.storage_redirect)
    if settings.storage_redirect:
        raise WrongSettings("BGERASER_STORAGE_REDIRECT=true needs a bucket: set BGERASER_STORAGE_URL=s3://…")
    directory = _storage_directory(url) if url is not None else settings.data_dir / "images"
    _require_writable("BGERASER_STORAGE_URL", directory)
    return LocalStorage(directory)


def _storage_directory(url: str) -> Path:
    address = urlsplit(url)
    if address.scheme != "file" or address.netloc or not address.path:
        raise ValueError(f"BGERASER_STORAGE_URL must be file:///folder or s3://bucket/prefix, not {url!r}")
    return Path(unquote(address.path))


def _require_writable(name: str, directory: Path) -> None:
    """Raises WrongSettings, which names the setting, unless files can be created in `directory`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise WrongSettings(f"{name} is {directory}, which cannot be written: {_reason(error)}.") from None


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
