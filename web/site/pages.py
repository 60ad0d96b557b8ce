"""Renders our plain pages: Jinja templates, escaped by default, in one shell."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from web.site import security, static_files

_TEMPLATES = Path(__file__).parent / "templates"


def render(
    request: Request,
    template: str,
    status_code: int = 200,
    form_targets: Iterable[str] = (),
    **values: Any,
) -> HTMLResponse:
    """A page from `templates/`. It knows `request`, `visitor` (None for strangers), `csrf_token` and `nonce`.

    The visitor is the one that `web.auth.visitor` found for this request, so a page whose head should show who is
    signed in asks for it first. Never cached: pages tell of the person who reads them.
    """
    visitor = getattr(request.state, "visitor", None)
    nonce = security.new_nonce()
    content = (
        _environment()
        .get_template(template)
        .render(
            request=request,
            visitor=visitor,
            csrf_token=visitor.csrf_token if visitor is not None else "",
            nonce=nonce,
            **values,
        )
    )
    headers = {
        "Content-Security-Policy": security.page_policy(nonce, form_targets),
        "Cache-Control": "no-store",
        "Referrer-Policy": "same-origin",
    }
    return HTMLResponse(content, status_code, headers)


def fragment(template: str, **values: Any) -> str:
    """A part of a page from `templates/`, for pages that another library makes."""
    return _environment().get_template(template).render(**values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is a defect, not an empty place
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static_files.address_of
    return environment
