"""The examples of the OpenAPI document: requests and answers that are valid by their schemas.

FastAPI drops null values from the document, so examples write `NULL`, which `restore_nulls` replaces.
"""

from typing import Any

#: Stands for null until the document is complete. No example has this text.
NULL = "\0null"

REQUEST_ID = "req_5pT0sVn2Qb8mXw4cYk1LrZ"
_IMAGE_ID = "img_4KdX0aJv8sQ2mTn6RzB1yP"
_IMAGE_URL = f"https://example.com/api/images/{_IMAGE_ID}?exp=1795446000&kid=9f2c41aa&sig=…"

#: The form of a call by tool. Files are named as curl names them.
FORMS: dict[str, dict[str, Any]] = {
    "bg-removal": {"image": "@photo.jpg", "bg_color": "white", "crop": True},
    "upscale": {"image": "@photo.jpg", "scale": 4},
    "generative-fill": {"image": "@photo.jpg", "mask": "@mask.png", "prompt": "a wooden bench"},
    "generative-expand": {"image": "@photo.jpg", "aspect_ratio": "16:9"},
    "magic-select": {"image": "@photo.jpg", "points": "[[320,240,1]]"},
    "crop": {"image": "@photo.jpg", "aspect_ratio": "1:1", "gravity": "north"},
    "brush": {
        "image": "@photo.jpg",
        "op": "erase",
        "strokes": '[{"points":[[40,40],[90,60]],"size":24}]',
    },
}
UPLOAD_FORM = {"image": "@photo.jpg"}

UPLOAD = {
    "imageId": _IMAGE_ID,
    "imageUrl": _IMAGE_URL,
    "previewUrl": f"{_IMAGE_URL}&w=1600",
    "width": 1920,
    "height": 1080,
    "format": "jpg",
    "bytes": 412345,
    "expiresAt": "2026-11-23T15:00:00Z",
    "warnings": [],
}
_JOB_ID = "job_7Qm2aXc9Lw4rTz0Kd8Bv1N"
_JOB_URL = f"https://example.com/api/jobs/{_JOB_ID}"
JOB_ACCEPTED = {"jobId": _JOB_ID, "status": "queued", "statusUrl": _JOB_URL}
JOB_SUMMARY = {
    "jobId": _JOB_ID,
    "tool": "upscale",
    "isTest": False,
    "status": "running",
    "statusUrl": _JOB_URL,
    "stage": "enlarging",
    "fraction": 0.25,
    "expectedSeconds": 41.5,
    "createdAt": "2026-11-22T15:00:00Z",
    "startedAt": "2026-11-22T15:00:02Z",
    "finishedAt": NULL,
    "expiresAt": "2026-11-23T15:00:00Z",
    "error": NULL,
}
JOB = {**JOB_SUMMARY, "queuePosition": NULL, "result": NULL}
JOB_EVENT = 'id: 4\nevent: job\ndata: {"jobId": "job_…", "status": "running", "fraction": 0.25, …}\n\n'
JOB_PAGE = {"jobs": [JOB_SUMMARY], "nextCursor": NULL}
_WEBHOOK_ID = "whe_8Fh2kQw0Zr5XcT1mVn9LsB"
WEBHOOK = {
    "webhookId": _WEBHOOK_ID,
    "url": "https://shop.example.com/bgeraser",
    "events": ["job.succeeded", "job.failed"],
    "enabled": True,
    "disabledReason": NULL,
    "previousSecretUntil": NULL,
    "createdAt": "2026-11-22T15:00:00Z",
}
WEBHOOK_BODY = {"url": WEBHOOK["url"], "events": WEBHOOK["events"]}
WEBHOOK_WITH_SECRET = {**WEBHOOK, "secret": "whsec_…"}
WEBHOOKS = {"webhooks": [WEBHOOK]}
DELETED_WEBHOOK = {"webhookId": _WEBHOOK_ID, "deleted": True}
DELIVERY = {
    "deliveryId": "whd_1Gv6pWc3Yk8ZbN4qJs7RtD",
    "webhookId": _WEBHOOK_ID,
    "messageId": "msg_6Td9mLx2Hq4VfK0wPz5CyE",
    "event": "job.succeeded",
    "url": WEBHOOK["url"],
    "status": "pending",
    "attempts": [
        {"at": "2026-11-22T15:00:41Z", "statusCode": 503, "error": "ERROR_STATUS", "durationMs": 210}
    ],
    "nextAttemptAt": "2026-11-22T15:00:46Z",
    "createdAt": "2026-11-22T15:00:41Z",
    "finishedAt": NULL,
}
DELIVERY_PAGE = {"deliveries": [DELIVERY], "nextCursor": NULL}
_BATCH_ID = "batch_3Tn8wYq5Kc1vRb7Ls0Gx9D"
_BATCH_URL = f"https://example.com/api/batches/{_BATCH_ID}"
BATCH_FORM = {"archive": "@photos.zip", "tool": "bg-removal", "bg_color": "white"}
BATCH = {
    "batchId": _BATCH_ID,
    "status": "running",
    "isTest": False,
    "steps": ["bg-removal"],
    "counts": {"total": 500, "queued": 387, "running": 8, "succeeded": 104, "failed": 1, "cancelled": 0},
    "retryable": 1,
    "creditsCharged": 104,
    "statusUrl": _BATCH_URL,
    "itemsUrl": f"{_BATCH_URL}/items",
    "resultsUrl": f"{_BATCH_URL}/results.zip",
    "manifestUrl": f"{_BATCH_URL}/manifest.csv",
    "createdAt": "2026-11-22T15:00:00Z",
    "startedAt": "2026-11-22T15:00:01Z",
    "finishedAt": NULL,
    "expiresAt": "2026-12-24T15:00:00Z",
}
BATCH_PAGE = {"batches": [BATCH], "nextCursor": NULL}
BATCH_ITEM = {
    "position": 1,
    "name": "shoes/red.jpg",
    "status": "succeeded",
    "stepsDone": 1,
    "creditsCharged": 1,
    "result": {
        "imageId": _IMAGE_ID,
        "imageUrl": _IMAGE_URL,
        "width": 1920,
        "height": 1080,
        "format": "png",
        "bytes": 812345,
        "expiresAt": "2026-11-23T15:00:00Z",
    },
    "error": NULL,
}
BATCH_MANIFEST = "position,name,status,file,…\n1,shoes/red.jpg,succeeded,shoes/red.png,…\n"
BATCH_ITEMS = {"items": [BATCH_ITEM], "nextCursor": "101"}
DELETED = {"imageId": _IMAGE_ID, "deleted": True}
ACCOUNT = {
    "email": "you@example.com",
    "plan": "free",
    "credits": {
        "available": 14,
        "held": 1,
        "renewsAt": "2026-12-22T12:00:00Z",
        "packCredits": 4,
        "packCreditsExpireAt": "2027-06-22T12:00:00Z",
    },
    "limits": {"concurrentCalls": 2, "callsPerMinute": 20},
    "key": {
        "keyId": "key_2bC9",
        "isTest": False,
        "tools": ["bg-removal", "crop"],
        "expiresAt": "2027-01-01T00:00:00Z",
        "monthlyLimit": {"credits": 100, "used": 12, "renewsAt": "2026-12-01T00:00:00Z"},
    },
}
USAGE = [
    {"day": "2026-11-22", "tool": "bg-removal", "keyId": "key_2bC9", "calls": 12, "credits": 11},
    {"day": "2026-11-22", "tool": "crop", "keyId": NULL, "calls": 1, "credits": 1},
]
_ENGINES = {
    "installed": ["isnet-general-use"],
    "missing": ["u2netp: bgeraser models pull u2netp"],
    "device": "cpu",
    "secondsPerMegapixel": 0.9,
    "defaults": {},
}
CATALOGUE = [
    {
        "name": "bg-removal",
        "title": "Remove background",
        "summary": "Cut out the foreground of a photo.",
        "path": "/api/tools/bg-removal",
        "parameters": {"type": "object", "properties": {"quality": {"type": "integer"}}},
        "files": [{"name": "bg_image", "description": "A background.", "idField": NULL}],
        "engines": _ENGINES,
    }
]
ALIVE = {"status": "ok"}
READY = {
    "ready": True,
    "database": "ok",
    "storage": "ok",
    "device": "cpu",
    "workers": 2,
    "queue": {"waiting": 0, "running": 1},
    "engines": [{"tool": "bg-removal", **_ENGINES}],
}


def tool_data(model: str | None) -> dict[str, Any]:
    """The `data` of a tool's answer."""
    return {
        "imageUrl": _IMAGE_URL,
        "width": 1920,
        "height": 1080,
        "format": "png",
        "processingTimeMs": 1450,
        "queueTimeMs": 12,
        "imageId": _IMAGE_ID,
        "bytes": 812345,
        "expiresAt": "2026-11-23T15:00:00Z",
        "model": NULL if model is None else model,
        "device": "cpu",
        "creditsCharged": 1,
        "creditsRemaining": 14,
        "warnings": [],
        "precision": NULL if model is None else "int8",
    }


def success(data: Any) -> dict[str, Any]:
    """A whole answer."""
    return {"success": True, "data": data, "requestId": REQUEST_ID}


def restore_nulls(part: Any) -> Any:
    """The document with null for `NULL`."""
    if isinstance(part, dict):
        return {name: restore_nulls(inner) for name, inner in part.items()}
    if isinstance(part, list):
        return [restore_nulls(inner) for inner in part]
    return None if part == NULL else part
