"""Renders the pages of the panel."""

import secrets
from typing import Any

from fastapi import Request
from starlette.responses import Response

from web.admin import words
from web.admin.access import PATH
from web.auth.browser_names import browser_name
from web.dashboard import words as call_words
from web.dashboard.events import format_time
from web.rendering import pages


def show(
    request: Request, template: str, current: str, status_code: int = 200, **template_values: Any
) -> Response:
    """A page of `templates/admin`. `current` is the entry of the panel's menu that it belongs to.

    `form_token` names the forms of this page: however often one of them is sent, it acts once.
    """
    return pages.render(
        request,
        f"admin/{template}",
        status_code,
        panel=PATH,
        current=current,
        form_token=secrets.token_urlsafe(16),
        words=words,
        call_words=call_words,
        format_time=format_time,
        browser_name=browser_name,
        **template_values,
    )
