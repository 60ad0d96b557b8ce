"""What the plan's card says, and which plans it offers."""

from collections.abc import Sequence
from typing import Any

from api.services import Services


async def words(services: Services, account_id: str) -> tuple[dict[str, Any], Sequence[Any]]:
    """The card's words and the plans that can be bought; none while billing is off."""
    return {"is_on": False, "words": "", "has_portal": False}, ()
