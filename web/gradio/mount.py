"""Mounts the Gradio pages, the editor at /app and /app/dashboard, behind the guard of `gradio_guard.py`."""

import os
import warnings
from types import ModuleType
from typing import Any

from fastapi import FastAPI
from starlette.routing import Mount

from web.gradio import events, theme
from web.gradio.guard import PLACE, Guard, files_of
from web.gradio.sessions import Pages

_QUEUE_PAUSE_SECONDS = 0.03
_LARGEST_UPLOAD_BYTES = 1024  # none passes the guard; this holds where Gradio is asked anyway
#: Gradio would keep the last 10,000 events, and make a table of them after each one.
_NO_STATISTICS = {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**62)}


def mount(app: FastAPI) -> None:
    """Adds both pages to `app`."""
    # Read when it is imported: nothing is reported to anybody.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.update(_NO_STATISTICS)
    # Imported here: it takes seconds, and only a server needs it.
    import gradio as gr
    from gradio.route_utils import BUILD_PATH_LIB, STATIC_PATH_LIB

    from web.dashboard import page as dashboard
    from web.editor import page as editor

    with gr.Blocks(title="bgeraser", analytics_enabled=False, fill_width=True) as blocks:
        editor.build()
    with blocks.route("Dashboard", "/dashboard") as page:
        dashboard.build(app.state.services, page)
    events.check_functions(blocks.fns)
    with warnings.catch_warnings():
        # It warns that pages are rendered in the browser, which is what is asked for here.
        warnings.filterwarnings("ignore", message="SSR mode is not supported", category=UserWarning)
        _mount(gr, app, blocks)
    # The editor's page has no Gradio session to keep alive; the dashboard's asks for it with its keys.
    blocks.config["connect_heartbeat"] = False
    # It asks for work a thousand times a second, which took 6 % of a core of a server that nobody used.
    blocks._queue.sleep_when_free = _QUEUE_PAUSE_SECONDS
    (mounted,) = (route for route in app.routes if isinstance(route, Mount) and route.path == PLACE)
    files = files_of({"/assets": BUILD_PATH_LIB, "/static": STATIC_PATH_LIB})
    mounted.app = Guard(mounted.app, Pages(mounted.app), files, app.state.services.public_url)


def _mount(gr: ModuleType, app: FastAPI, blocks: Any) -> None:
    gr.mount_gradio_app(
        app,
        blocks,
        path=PLACE,
        theme=theme.site_theme(),
        css=theme.CSS,
        head=theme.head(),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        allowed_paths=[],
        max_file_size=_LARGEST_UPLOAD_BYTES,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )
