"""Routes of the operator's panel. GET never acts; each POST is a form with a CSRF token and a reason."""

from functools import partial

from fastapi import FastAPI

from api.http.routes.get_and_head import add_get
from web.admin import account_pages, log_pages, overview_page
from web.admin.access import PATH, form, page
from web.admin.account_pages import ACCOUNT_PATH, ACCOUNTS_PATH
from web.admin.act_forms import FORMS, perform
from web.admin.log_pages import LOG_PATH
from web.admin.overview_page import KeptFigures

PAGES = {
    PATH: overview_page.overview_page,
    ACCOUNTS_PATH: account_pages.search_page,
    ACCOUNT_PATH: account_pages.account_page,
    LOG_PATH: log_pages.log_page,
    f"{LOG_PATH}.csv": log_pages.log_csv,
}


def add_to(app: FastAPI) -> None:
    """Call it before Gradio is mounted, whose prefix the panel's addresses begin with."""
    app.state.admin_figures = KeptFigures(app.state.services, app.state.settings)
    for path, show in PAGES.items():
        add_get(app, path, page(show), include_in_schema=False)
    for act in FORMS:
        app.add_api_route(
            f"{ACCOUNT_PATH}/{act.value}",
            form(partial(perform, act=act), back_to=ACCOUNT_PATH),
            methods=["POST"],
            include_in_schema=False,
            response_model=None,
        )
