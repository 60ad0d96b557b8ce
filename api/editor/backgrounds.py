"""The background images that an owner used recently, found in the looks of its projects' steps."""

import json
from datetime import datetime

from sqlmodel import Session, col, select

from api.editor.layers import BACKGROUND_ID
from api.editor.models import Project, Step
from api.editor.owners import ProjectOwner
from api.images.models import Image

_LISTED = 8
_LOOKS_READ = 200


def recent(session: Session, owner: ProjectOwner, now: datetime) -> list[str]:
    """The ids of at most eight stored images, most recently used first."""
    statement = (
        select(Step.look)
        .join(Project, col(Project.id) == col(Step.project_id))
        .where(
            owner.owns(),
            col(Project.expires_at) > now,
            col(Step.look).contains(BACKGROUND_ID),
            col(Step.background_id).is_(None),  # a part of another background, made by cropping
        )
        .order_by(col(Step.created_at).desc())
        .limit(_LOOKS_READ)
    )
    used = dict.fromkeys(json.loads(look or "{}").get(BACKGROUND_ID, "") for look in session.exec(statement))
    stored = select(Image.id).where(
        col(Image.id).in_(list(used)), Image.account_id == owner.account_id, col(Image.expires_at) > now
    )
    available = set(session.exec(stored))
    return [image_id for image_id in used if image_id in available][:_LISTED]
