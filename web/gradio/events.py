"""Validation of the events that a browser may send to Gradio's queue.

Gradio copies and downloads files that an event's arguments name. A request's body is therefore never passed
on: it is validated here, and Gradio gets a new body made from the validated values. Arguments are null,
integers, short strings, or lists of choices that the page offers. Objects are refused, and with them all
files, paths and addresses.
"""

import json
import unicodedata
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.errors import InvalidParameter, InvalidRequest

#: The largest event of our pages is a few hundred bytes long.
BODY_LIMIT_BYTES = 8 * 1024
SESSION_HASH = r"[a-z0-9]{1,32}"
_ARGUMENTS_MAX = 8
_TEXT_LENGTH_MAX = 1000
_CHOICES_MAX = 32
_ID_MAX = 2**31 - 1

_Text = Annotated[str, Field(max_length=_TEXT_LENGTH_MAX)]
_Choices = Annotated[list[_Text], Field(max_length=_CHOICES_MAX)]
_Id = Annotated[int, Field(ge=0, le=_ID_MAX)]


class Event(BaseModel):
    """One event.

    `data` are the arguments of the function `fn_index`, `trigger_id` the component that caused it.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    session_hash: Annotated[str, Field(pattern=f"^{SESSION_HASH}$")]
    fn_index: _Id
    trigger_id: _Id
    data: Annotated[list[int | _Text | _Choices | None], Field(max_length=_ARGUMENTS_MAX)]
    # Gradio's client always sends it; none of our events uses it.
    event_data: None = None

    def body(self) -> bytes:
        """The event as JSON for Gradio."""
        return self.model_dump_json().encode()


def parse(body: bytes) -> Event:
    """Raises InvalidRequest for a body that is not an event, and InvalidParameter for an invalid field."""
    try:
        values = json.loads(body, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise InvalidRequest("The event is not valid JSON.") from None
    try:
        return Event.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from None


def check_arguments(event: Event, functions: Mapping[int, Any]) -> None:
    """Raises InvalidParameter unless the arguments fit the event's function.

    `functions` are Gradio's, by index.
    """
    function = functions.get(event.fn_index)
    if function is None or not function.queue:
        raise InvalidParameter("fn_index", "fn_index: This event does not exist. Reload the page.")
    if event.trigger_id not in {block_id for block_id, _ in function.targets}:
        raise InvalidParameter("trigger_id", "trigger_id: This component does not trigger this event.")
    if len(event.data) != len(function.inputs):
        raise InvalidParameter("data", f"data: This event takes {len(function.inputs)} arguments.")
    for position, (component, value) in enumerate(zip(function.inputs, event.data, strict=True)):
        if not _VALIDATORS[component.get_block_name()](component, value):
            raise InvalidParameter("data", f"data: Argument {position} is invalid for this event.")


def check_functions(functions: Mapping[int, Any]) -> None:
    """Raises TypeError if an event of our pages cannot be validated or bypasses the queue."""
    for function in functions.values():
        unknown = {component.get_block_name() for component in function.inputs} - _VALIDATORS.keys()
        if unknown:
            raise TypeError(f"the event {function.name} takes {sorted(unknown)}, which cannot be validated")
        if not function.queue:
            raise TypeError(f"the event {function.name} would bypass the queue and its validation")


def _is_empty(_: Any, value: object) -> bool:
    """For `State`: its value stays on the server, and the browser sends null instead."""
    return value is None


def _is_text(component: Any, value: object) -> bool:
    max_length = component.max_length or _TEXT_LENGTH_MAX
    return (
        isinstance(value, str)
        and len(value) <= max_length
        # PostgreSQL cannot store NUL, and single-line fields contain no line breaks.
        and not any(unicodedata.category(character) == "Cc" for character in value)
    )


def _is_choice(component: Any, value: object) -> bool:
    return any(type(value) is type(choice) and value == choice for _, choice in component.choices)


def _are_choices(component: Any, value: object) -> bool:
    return (
        isinstance(value, list)
        and len(set(value)) == len(value)
        and all(_is_choice(component, each) for each in value)
    )


#: By Gradio's name of the component. Other components cannot be arguments of an event.
_VALIDATORS: dict[str, Callable[[Any, object], bool]] = {
    "state": _is_empty,
    "textbox": _is_text,
    "dropdown": _is_choice,
    "radio": _is_choice,
    "checkboxgroup": _are_choices,
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
        return InvalidRequest(
            "An event must be an object with exactly the fields that Gradio's client sends."
        )
    return InvalidParameter(str(name), f"{name}: {first['msg']}")
