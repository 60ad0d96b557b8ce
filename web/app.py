"""Composes the ASGI application from the settings. The only module that imports every package."""

from fastapi import FastAPI

from api.http.app import create_api
from api.settings import Settings
from web.admin import routes as admin
from web.auth import routes as auth
from web.auth import visitor
from web.bootstrap import open_server_services
from web.editor import routes as editor
from web.gradio import mount as gradio_mount
from web.plans import routes as plans
from web.site import routes as site


def create_app(settings: Settings, bound_host: str = "127.0.0.1") -> FastAPI:
    """Create the application and apply database migrations. The workers start with its lifespan.

    `bound_host` is the host that the server listens on. Raises what `open_server_services` raises.
    """
    services = open_server_services(settings)
    app = create_api(services, settings, editor.UPLOAD_PLACES, bound_host, visitor.SESSION_COOKIES)
    visitor.install(app, services)
    auth.add_to(app, settings)
    plans.add_to(app)
    editor.add_to(app, services)
    admin.add_to(app)
    site.add_to(app)
    gradio_mount.mount(app)
    return app
