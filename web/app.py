"""Composes the application: settings in, one ASGI app out. The only place that knows every package."""

from fastapi import FastAPI

from api import logging_setup
from api.http.app import create_api
from api.settings import Settings
from web.auth import routes as people
from web.auth import visitor
from web.bootstrap import open_services
from web.editor import routes as editor
from web.gradio import mount as gradio_mount
from web.plans import routes as plans
from web.site import routes as site


def create_app(settings: Settings, bound_host: str = "127.0.0.1") -> FastAPI:
    """The whole application. Brings the database up to date; workers start with the app, not here.

    `bound_host` is what the server listens on. Raises what `open_services` raises.
    """
    logging_setup.set_up(settings.log_format)
    services = open_services(settings)
    app = create_api(services, settings, editor.UPLOAD_PLACES, bound_host)
    visitor.install(app, services)
    people.add_to(app, settings)
    plans.add_to(app)
    editor.add_to(app, services)
    site.add_to(app)
    gradio_mount.mount(app)
    return app
