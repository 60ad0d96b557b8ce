"""Brand colours, on both databases."""

import pytest

from api.db.database import Database
from api.editor import brand_colors
from api.errors import InvalidParameter
from tests.support.builders import NOON, make_account


def test_colours_are_replaced_kept_in_order_and_deleted_with_their_account(database: Database) -> None:
    with database.transaction() as session:
        mine, other = make_account(session).id, make_account(session).id
        assert brand_colors.listed(session, mine) == []
        assert brand_colors.replace(session, mine, ["#FF0000", "#00ff00", "#ff0000"]) == [
            "#ff0000",
            "#00ff00",
        ]
        brand_colors.replace(session, other, ["#000000"])
    with database.transaction() as session:
        assert brand_colors.listed(session, mine) == ["#ff0000", "#00ff00"]
        brand_colors.replace(session, mine, ["#0000ff"])
        session.expire_all()
        assert brand_colors.listed(session, mine) == ["#0000ff"]
        brand_colors.delete_of_account(session, mine, NOON)
        session.expire_all()
        assert brand_colors.listed(session, mine) == []
        assert brand_colors.listed(session, other) == ["#000000"]


@pytest.mark.parametrize("colors", [["red"], ["#fff"], [7], [None], [f"#0000{at:02x}" for at in range(13)]])
def test_anything_else_is_refused(database: Database, colors: list[object]) -> None:
    with database.transaction() as session:
        account_id = make_account(session).id
        with pytest.raises(InvalidParameter):
            brand_colors.replace(session, account_id, colors)
        assert brand_colors.listed(session, account_id) == []
