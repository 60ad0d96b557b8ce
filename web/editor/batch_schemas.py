"""JSON of the editor's batches. Addresses of images are paths on the page's own origin."""

import json
from datetime import datetime
from typing import Any

from api import response_bodies
from api.batches.models import BatchStatus
from api.editor.batch_states import BatchState, ShownItem
from api.services import Services
from ml.catalogue import tool_title


def batch(services: Services, state: BatchState) -> dict[str, Any]:
    row, account = state.batch, state.account
    until = row.finished_at or services.clock()
    return {
        "id": row.id,
        "status": row.status,
        "tools": state.tools,
        "title": ", ".join(dict.fromkeys(tool_title(tool) for tool in state.tools)),
        "total": row.item_count,
        "counts": state.counts,
        "creditsCharged": state.credits,
        "retryable": state.retryable,
        "createdAt": response_bodies.timestamp(row.created_at),
        "expiresAt": response_bodies.timestamp(row.expires_at),
        # By the server's clock, which a browser's own may differ from.
        "elapsedSeconds": None if row.started_at is None else round((until - row.started_at).total_seconds()),
        "hasEnded": BatchStatus(row.status).has_ended,
        "creditsAvailable": account.available,
        "renewsAt": _timestamp(account.period_ends_at),
    }


def item(shown: ShownItem) -> dict[str, Any]:
    row, result = shown.item, shown.result
    return {
        "position": row.position,
        "name": row.name,
        "status": row.status,
        "stepsDone": row.steps_done,
        "thumbnailUrl": _thumbnail_url(shown),
        "result": None if result is None else {"format": result.format, "bytes": result.size_bytes},
        "error": None if row.error is None else json.loads(row.error),
    }


def _thumbnail_url(shown: ShownItem) -> str | None:
    """An address that stays the same until the picture has a result, so that browsers keep what they have."""
    if shown.pictured is None:
        return None
    of = "source" if shown.result is None else "result"
    return f"/editor/batches/{shown.item.batch_id}/items/{shown.item.position}/thumbnail?of={of}"


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else response_bodies.timestamp(moment)
