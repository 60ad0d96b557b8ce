"""Mounts the Gradio pages, the editor at /app and the dashboard at /app/dashboard, behind the guard."""

import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from fastapi import FastAPI
from starlette.routing import Mount

from web.gradio import client_modules, events, server_rendering, theme
from web.gradio.guard import MOUNT_PATH, Guard, files_of
from web.gradio.loading import import_gradio
from web.gradio.sessions import Pages

_QUEUE_POLL_SECONDS = 0.03
_PROGRESS_POLL_SECONDS = 1.0
_UPLOAD_MAX_BYTES = 1024  # the guard passes no uploads at all; this is a second line of defence


def mount(app: FastAPI) -> None:
    """Mount both pages on `app`."""
    # Here, because it takes seconds and only the server needs it.
    gr = import_gradio()
    from gradio.route_utils import BUILD_PATH_LIB, STATIC_PATH_LIB

    from web.dashboard import page as dashboard
    from web.editor import page as editor

    with gr.Blocks(title="bgeraser", analytics_enabled=False, fill_width=True) as blocks:
        editor.build()
    with blocks.route("Dashboard", "/dashboard") as page:
        dashboard.build(app.state.services, page)
    events.check_functions(blocks.fns)
    with warnings.catch_warnings():
        # It warns that pages are rendered in the browser, which is intended.
        warnings.filterwarnings("ignore", message="SSR mode is not supported", category=UserWarning)
        _mount(gr, app, blocks)
    # The editor's page has no Gradio session to keep alive.
    blocks.config["connect_heartbeat"] = False
    # By default Gradio polls its queue a thousand times a second, which costs 6 % of a core while idle, and
    # for progress to report, which none of our events has, a hundred times.
    blocks._queue.sleep_when_free = _QUEUE_POLL_SECONDS
    blocks._queue.progress_update_sleep_when_free = _PROGRESS_POLL_SECONDS
    (mounted,) = (route for route in app.routes if isinstance(route, Mount) and route.path == MOUNT_PATH)
    gradio_app: Any = mounted.app
    # In the events of a page, `request.app` is Gradio's application.
    gradio_app.state.services = app.state.services
    files = files_of({"/assets": BUILD_PATH_LIB, "/static": STATIC_PATH_LIB})
    server_pages = server_rendering.server_pages(blocks.config)
    modules = client_modules.first_modules(Path(BUILD_PATH_LIB))
    public_url = app.state.services.public_url
    mounted.app = Guard(gradio_app, Pages(gradio_app), files, server_pages, modules, public_url)


def _mount(gr: ModuleType, app: FastAPI, blocks: Any) -> None:
    gr.mount_gradio_app(
        app,
        blocks,
        path=MOUNT_PATH,
        theme=theme.site_theme(),
        css=theme.CSS,
        head=theme.head(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        allowed_paths=[],
        max_file_size=_UPLOAD_MAX_BYTES,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )
