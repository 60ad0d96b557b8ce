"""Opens what the application works with, by the operator's settings; for the server and for commands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from api.database import Database
from api.migrations import upgrade
from api.services import Services
from api.settings import Settings
from api.storage import Storage
from ml.local import LocalBackend, LocalConfig


def open_services(settings: Settings) -> Services:
    """The database is brought up to date; workers start with the application, not here.

    Raises `MissingSecret` without a secret where one is needed, and `ValueError` for a database or storage
    address that cannot be used.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade.migrate(settings.database_address)
    return Services.of(
        settings,
        Database(settings.database_address),
        Storage(_storage_directory(settings)),
        LocalBackend(_backend_config(settings)),
    )


@contextmanager
def services_for_a_command(settings: Settings) -> Iterator[Services]:
    """As `open_services`, closed at the end of the block."""
    services = open_services(settings)
    try:
        yield services
    finally:
        services.backend.close()
        services.database.close()


def _backend_config(settings: Settings) -> LocalConfig:
    return LocalConfig(
        models_dir=settings.models_path,
        cache_dir=settings.data_dir / "cache",
        device=settings.device,
        workers=settings.workers,
        memory_limit_bytes=settings.worker_memory_mb * 1024**2,
        queue_size=settings.queue_size,
        generative=settings.generative,
    )


def _storage_directory(settings: Settings) -> Path:
    if settings.storage_url is None:
        return settings.data_dir / "images"
    address = urlsplit(settings.storage_url)
    if address.scheme != "file" or address.netloc or not address.path:
        raise ValueError(f"BGERASER_STORAGE_URL must be file:///folder, not {settings.storage_url!r}")
    return Path(unquote(address.path))
