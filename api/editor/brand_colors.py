"""An account's brand colours, which the editor offers wherever a colour is chosen."""

import re
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, delete

from api.editor.models import BrandColors
from api.errors import InvalidParameter

COLORS_MAX = 12
_COLOR = re.compile(r"#[0-9a-f]{6}")


def listed(session: Session, account_id: str) -> list[str]:
    """The account's colours, `#rrggbb` each, in its own order."""
    row = session.get(BrandColors, account_id)
    return [] if row is None else row.colors.split()


def replace(session: Session, account_id: str, colors: Sequence[object]) -> list[str]:
    """Set the account's colours; repeated ones are kept once. Raises `InvalidParameter`."""
    texts = [color.lower() for color in colors if isinstance(color, str)]
    if len(texts) != len(colors) or not all(_COLOR.fullmatch(text) for text in texts):
        raise InvalidParameter("colors", "colors must be a list of colours such as #1f3a5f.")
    kept = list(dict.fromkeys(texts))
    if len(kept) > COLORS_MAX:
        raise InvalidParameter("colors", f"At most {COLORS_MAX} brand colours can be kept.")
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = {"colors": " ".join(kept)}
    statement = insert(BrandColors).values(account_id=account_id, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["account_id"], set_=values))
    return kept


def delete_of_account(session: Session, account_id: str, _now: datetime) -> None:
    session.execute(delete(BrandColors).where(col(BrandColors.account_id) == account_id))
