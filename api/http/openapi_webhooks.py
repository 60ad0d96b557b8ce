"""The outgoing webhooks in the OpenAPI document: what each event's message contains."""

from typing import Any

from pydantic import BaseModel, Field

from api.http import openapi_examples as examples_of
from api.http.schemas import AccountState, Shape, Success
from api.webhooks.models import WebhookEvent

_HEADERS = {
    "webhook-id": "The message's id, the same at every attempt.",
    "webhook-timestamp": "When the attempt was made, in Unix seconds.",
    "webhook-signature": "Signatures by the webhook's secrets, see Standard Webhooks.",
    "webhook-event": "The event's name.",
}


class AccountMessage(Success):
    data: AccountState


class FailedPayment(Shape):
    plan: str = Field(description="The plan whose payment failed.")
    unpaid_since: str
    plan_ends_at: str = Field(description="When the account returns to the free plan unless it is paid.")


class FailedPaymentMessage(Success):
    data: FailedPayment


class EndingKey(Shape):
    key_id: str
    name: str
    first_characters: str
    ends_at: str = Field(description="From then on the key is refused.")
    reason: str = Field(description="rotated (another key replaced it) or expires (on the chosen day).")


class EndingKeyMessage(Success):
    data: EndingKey


class SignIn(Shape):
    browser: str = Field(description="A name such as Firefox on Linux, by what the browser says of itself.")
    address: str
    signed_in_at: str


class SignInMessage(Success):
    data: SignIn


FAILED_PAYMENT = {
    "plan": "standard",
    "unpaidSince": "2026-11-22T12:00:00Z",
    "planEndsAt": "2026-11-29T12:00:00Z",
}
ENDING_KEY = {
    "keyId": "key_2bC9",
    "name": "Shop",
    "firstCharacters": "bge_live_Ab3d",
    "endsAt": "2026-11-23T12:00:00Z",
    "reason": "rotated",
}
SIGN_IN = {"browser": "Firefox on Linux", "address": "192.0.2.7", "signedInAt": "2026-11-22T12:00:00Z"}
#: An event is of the account, whichever key was used.
_ACCOUNT: dict[str, Any] = {name: each for name, each in examples_of.ACCOUNT.items() if name != "key"}
_LOW = {**_ACCOUNT, "credits": {**_ACCOUNT["credits"], "available": 2, "held": 1}}
_NONE = {
    **_ACCOUNT,
    "credits": {
        **_ACCOUNT["credits"],
        "available": 0,
        "held": 0,
        "packCredits": 0,
        "packCreditsExpireAt": None,
    },
}

#: What happened, the body's model, and the example's `data`.
_ABOUT: dict[WebhookEvent, tuple[str, type[BaseModel], Any]] = {
    WebhookEvent.CREDITS_LOW: (
        "A fifth of what the month or the last pack brought is left.",
        AccountMessage,
        _LOW,
    ),
    WebhookEvent.CREDITS_EXHAUSTED: ("No credits are left.", AccountMessage, _NONE),
    WebhookEvent.PAYMENT_FAILED: (
        "An invoice of the plan was not paid. Further attempts to charge it send nothing.",
        FailedPaymentMessage,
        FAILED_PAYMENT,
    ),
    WebhookEvent.KEY_ENDING: (
        "A key is about to end: six hours before the grace period of a replaced one is over, a week before a"
        " chosen day.",
        EndingKeyMessage,
        ENDING_KEY,
    ),
    WebhookEvent.ACCOUNT_SIGN_IN: (
        "A browser signed in that was not used with the account before.",
        SignInMessage,
        SIGN_IN,
    ),
}


def described(components: dict[str, Any], ref_template: str) -> dict[str, Any]:
    """The `webhooks` of the document. Adds the models' schemas to `components`."""
    return {event.value: {"post": _operation(event, components, ref_template)} for event in _ABOUT}


def _operation(event: WebhookEvent, components: dict[str, Any], ref_template: str) -> dict[str, Any]:
    about, model, data = _ABOUT[event]
    name = model.__name__
    schema = model.model_json_schema(ref_template=ref_template)
    components.update(schema.pop("$defs", {}))
    components[name] = schema
    example = {"success": True, "data": data, "requestId": examples_of.REQUEST_ID}
    content = {"schema": {"$ref": ref_template.format(model=name)}, "example": example}
    return {
        "operationId": f"webhook-{event.value.replace('.', '-').replace('_', '-')}",
        "summary": about,
        "tags": ["Webhooks"],
        "parameters": [
            {
                "name": header,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for header, text in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {"2XX": {"description": "Received. Every other answer is tried again, for three days."}},
    }
