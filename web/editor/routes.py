"""The editor's routes: JSON, authenticated by session cookie and CSRF token. They are not part of the API."""

from fastapi import FastAPI

from api.editor import brand_colors, owners, projects
from api.editor.runs import Runs
from api.http.middleware.body_limits import UPLOAD_LIMIT_BYTES
from api.services import Services
from web.auth.services import AuthServices
from web.editor import (
    background_routes,
    batch_routes,
    look_routes,
    project_routes,
    run_routes,
    session_routes,
)
from web.editor.access import EditorServices

#: Routes that accept images, and their body limits.
UPLOAD_PLACES = {
    "/editor/projects": UPLOAD_LIMIT_BYTES,
    "/editor/backgrounds": UPLOAD_LIMIT_BYTES,
    batch_routes.UPLOADS: UPLOAD_LIMIT_BYTES,
}


def add_to(app: FastAPI, services: Services) -> None:
    """Call it after `web.auth` was added, which transfers a guest's projects to the account on sign-in."""
    app.state.editor = EditorServices(services, Runs(services))
    auth: AuthServices = app.state.auth
    auth.guest_transfers.append(owners.adopt)
    auth.before_deletion.extend([projects.delete_of_account, brand_colors.delete_of_account])
    for routes in (
        session_routes,
        background_routes,
        project_routes,
        run_routes,
        look_routes,
        batch_routes,
    ):
        routes.add_to(app)
