"""Public static files: styles, scripts, samples. Versioned addresses change with the content."""

import hashlib
from functools import lru_cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "static"
PLACE = "/static"


@lru_cache(maxsize=256)
def address_of(name: str) -> str:
    """The versioned address of a file below `web/static`, which may be cached forever."""
    digest = hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:12]
    return f"{PLACE}/{name}?v={digest}"


class SiteFiles(StaticFiles):
    """Versioned addresses are cached for a year; others are revalidated with each request."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        is_versioned = scope.get("query_string", b"").startswith(b"v=")
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if is_versioned else "no-cache"
        )
        return response
