"""Calls and their outcomes in words, under the names that the editor gives its tools."""

from api.calls.models import CallRecord
from ml.catalogue import tool_title

#: What a tool achieves. The names of the API say what it does.
_ACTIONS = {
    "bg-removal": "Remove background",
    "generative-fill": "Remove object",
    "generative-expand": "Extend",
    "upscale": "Enlarge",
    "magic-select": "Select",
    "crop": "Crop & rotate",
    "brush": "Retouch",
}
_CALLERS_FAULTS = range(400, 500)


def action(tool: str, picture: str | None = None) -> str:
    """`Enlarge, cat.jpg`; without the picture if its name is not known. Former tools keep their names."""
    name = _ACTIONS.get(tool) or tool_title(tool)
    return f"{name}, {picture}" if picture else name


def outcome(call: CallRecord) -> str:
    """Whether the call succeeded; a refusal with the code that the API answered."""
    if call.code is None:
        return "Done" if call.status_code < 300 else f"Failed ({call.status_code})"
    word = "Refused" if call.status_code in _CALLERS_FAULTS else "Failed"
    return f"{word} ({call.status_code} {call.code})"


def credits(amount: int) -> str:
    """`1 credit`, `1,200 credits`."""
    return f"{amount:,} {'credit' if amount == 1 else 'credits'}"
