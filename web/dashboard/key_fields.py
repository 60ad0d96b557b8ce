"""The fields by which the owner of an API key limits it, for a new key and for an existing one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from api.auth.key_settings import KeySettings
from api.errors import InvalidParameter
from ml.catalogue import TOOLS

NO_SETTINGS = KeySettings()
_DAY_FORMAT = "2027-01-31"
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class KeyFields:
    """The components of the fields. `limit` is None for a test key, which costs nothing."""

    limit: Any | None
    tools: Any
    last_day: Any

    @property
    def inputs(self) -> list[Any]:
        """In the order of the arguments of `read`."""
        return [self.tools, self.last_day, *([] if self.limit is None else [self.limit])]


def build(gr: Any, settings: KeySettings = NO_SETTINGS, *, has_limit: bool = True) -> KeyFields:
    """Add the fields with the settings that a key has. `gr` is the gradio module."""
    # Gradio would add such a form around them by itself, but forget to delete it when the list is drawn anew.
    with gr.layouts.Form():
        limit = None
        if has_limit:
            limit = gr.Textbox(
                label="Credits a month at most",
                info="Empty: no limit. Counted from the first of each month, in UTC.",
                value="" if settings.monthly_limit is None else str(settings.monthly_limit),
                max_lines=1,
                max_length=12,
                interactive=True,
                min_width=220,
                elem_classes="key-limit",
            )
        last_day = gr.Textbox(
            label="Last day on which it works",
            info=f"Empty: it never expires. A day in UTC, such as {_DAY_FORMAT}.",
            value=shown_day(settings.expires_at) or "",
            max_lines=1,
            max_length=10,
            interactive=True,
            min_width=220,
            elem_classes="key-last-day",
        )
    with gr.layouts.Form():
        tools = gr.CheckboxGroup(
            [(tool.title, tool.name) for tool in TOOLS.values()],
            label="Tools that it may use",
            info="All of them: also those that are added later.",
            value=sorted(TOOLS if settings.tools is None else settings.tools),
            elem_classes="key-tools",
            interactive=True,
        )
    return KeyFields(limit, tools, last_day)


def read(tools: Sequence[str], last_day: str, limit: str = "") -> KeySettings:
    """The settings in the values of the fields. Raises InvalidParameter."""
    chosen = frozenset(tools)
    return KeySettings(
        monthly_limit=_limit_of(limit.strip()),
        tools=None if chosen >= TOOLS.keys() else chosen,
        expires_at=_end_of(last_day.strip()),
    )


def shown_day(expires_at: datetime | None) -> str | None:
    """The last day on which a key works, in UTC; None if it never expires."""
    if expires_at is None:
        return None
    return (expires_at.astimezone(UTC) - timedelta(microseconds=1)).date().isoformat()


def _limit_of(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise InvalidParameter("monthly_limit", "The limit must be a whole number of credits.")
    return int(text)


def _end_of(day: str) -> datetime | None:
    if not day:
        return None
    try:
        if len(day) != len(_DAY_FORMAT):
            raise ValueError(day)
        following = date.fromisoformat(day) + _ONE_DAY
    except (ValueError, OverflowError):
        raise InvalidParameter("last_day", f"The last day must be a day such as {_DAY_FORMAT}.") from None
    return datetime(following.year, following.month, following.day, tzinfo=UTC)
