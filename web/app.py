"""Composes the application: settings in, one ASGI app out. The only place that knows every package."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from fastapi import FastAPI

from api import logs
from api.database import Database
from api.http.app import create_api
from api.migrations import upgrade
from api.services import Services
from api.settings import Settings
from api.storage import Storage
from ml.local import LocalBackend, LocalConfig
from web import gradio_app, visitor
from web.editor import routes as editor
from web.people import routes as people
from web.site import routes as site


def create_app(settings: Settings) -> FastAPI:
    """The whole application. Brings the database up to date; workers start with the app, not here.

    Raises `MissingSecret` without a secret where one is needed, and `ValueError` for a database or storage
    address that cannot be used.
    """
    logs.set_up(settings.log_format)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    upgrade.migrate(settings.database_address)
    services = Services.of(
        settings,
        Database(settings.database_address),
        Storage(_storage_directory(settings)),
        LocalBackend(_backend_config(settings)),
    )
    app = create_api(services, settings, editor.UPLOAD_PLACES)
    visitor.install(app, services)
    people.add_to(app, settings)
    editor.add_to(app, services)
    site.add_to(app)
    gradio_app.mount(app)
    return app


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
