"""The schema of what a browser may send to Gradio's queue, derived from the events that our pages define.

Gradio itself copies and downloads files that an event's arguments name, so nothing of a caller's body
reaches it: the body is validated here and written anew from the validated values. Arguments are null, whole
numbers or short strings; an object, and with it every file, path or address, has no place in them.
"""

import json
import unicodedata
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.errors import InvalidParameter, InvalidRequest

#: The largest event of our pages has a few hundred bytes.
BODY_LIMIT_BYTES = 8 * 1024
SESSION_HASH = r"[a-z0-9]{1,32}"
_ARGUMENTS_MAX = 8
_TEXT_LENGTH_MAX = 1000
_ID_MAX = 2**31 - 1

_Text = Annotated[str, Field(max_length=_TEXT_LENGTH_MAX)]
_Id = Annotated[int, Field(ge=0, le=_ID_MAX)]


class Event(BaseModel):
    """One event: `data` are the arguments of the function `fn_index`, `trigger_id` what caused it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    session_hash: Annotated[str, Field(pattern=f"^{SESSION_HASH}$")]
    fn_index: _Id
    trigger_id: _Id
    data: Annotated[list[int | _Text | None], Field(max_length=_ARGUMENTS_MAX)]
    # Gradio's pages send it, always empty: none of our events has data of its own.
    event_data: None = None

    def body(self) -> bytes:
        """The event as JSON for Gradio."""
        return self.model_dump_json().encode()


def parse(body: bytes) -> Event:
    """Raises InvalidRequest for what is not an event at all and InvalidParameter for a field out of place."""
    try:
        values = json.loads(body, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise InvalidRequest("The event is not valid JSON.") from None
    try:
        return Event.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from None


def check_arguments(event: Event, functions: Mapping[int, Any]) -> None:
    """Raises InvalidParameter unless `event` fits its function among `functions`, Gradio's by number."""
    function = functions.get(event.fn_index)
    if function is None or not function.queue:
        raise InvalidParameter("fn_index", "fn_index: There is no such event. Load the page again.")
    if event.trigger_id not in {block_id for block_id, _ in function.targets}:
        raise InvalidParameter("trigger_id", "trigger_id: This part of the page does not cause this event.")
    if len(event.data) != len(function.inputs):
        raise InvalidParameter("data", f"data: This event takes {len(function.inputs)} arguments.")
    for position, (component, value) in enumerate(zip(function.inputs, event.data, strict=True)):
        if not _RULES[component.get_block_name()](component, value):
            raise InvalidParameter("data", f"data: Argument {position} is not one that this event takes.")


def check_functions(functions: Mapping[int, Any]) -> None:
    """Raises TypeError if one of our pages has an event whose arguments have no rule here, or no queue."""
    for function in functions.values():
        unknown = {component.get_block_name() for component in function.inputs} - _RULES.keys()
        if unknown:
            raise TypeError(f"the event {function.name} takes {sorted(unknown)}, which have no rule")
        if not function.queue:
            raise TypeError(f"the event {function.name} would bypass the queue, and with it this schema")


def _is_empty(_: Any, value: object) -> bool:
    """Of a `State`: its value stays on the server, and the browser sends null in its place."""
    return value is None


def _is_text(component: Any, value: object) -> bool:
    longest = component.max_length or _TEXT_LENGTH_MAX
    return (
        isinstance(value, str)
        and len(value) <= longest
        # A NUL cannot be stored by PostgreSQL, and a line break does not belong in a field of one line.
        and not any(unicodedata.category(sign) == "Cc" for sign in value)
    )


def _is_choice(component: Any, value: object) -> bool:
    return any(type(value) is type(choice) and value == choice for _, choice in component.choices)


#: By Gradio's name of the component. A component that is missing here cannot be an event's argument.
_RULES: dict[str, Callable[[Any, object], bool]] = {
    "state": _is_empty,
    "textbox": _is_text,
    "dropdown": _is_choice,
}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice")
    return values


def _refusal(error: ValidationError) -> Exception:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    name = first["loc"][0] if first["loc"] else None
    if name not in Event.model_fields:
        return InvalidRequest("An event is an object with the fields that the page sends, and no others.")
    return InvalidParameter(str(name), f"{name}: {first['msg']}")
