"""The editor's routes: JSON over the session's cookie, changes with its token. None is part of the API."""

from fastapi import FastAPI

from api.editor import owners, projects
from api.editor.runs import Runs
from api.http.middleware.body_limits import UPLOAD_LIMIT_BYTES
from api.services import Services
from web.auth.services import AuthServices
from web.editor import project_routes, run_routes, session_routes
from web.editor.access import EditorServices

#: Multipart bodies larger than others: pictures.
UPLOAD_PLACES = {
    "/editor/projects": UPLOAD_LIMIT_BYTES,
    "/editor/backgrounds": UPLOAD_LIMIT_BYTES,
}


def add_to(app: FastAPI, services: Services) -> None:
    """After `web.auth`, whose sign-in hands a guest's work over to the account."""
    app.state.editor = EditorServices(services, Runs(services))
    people: AuthServices = app.state.people
    people.carry_over.append(owners.adopt)
    people.before_deletion.append(projects.delete_of_account)
    for routes in (session_routes, project_routes, run_routes):
        routes.add_to(app)
