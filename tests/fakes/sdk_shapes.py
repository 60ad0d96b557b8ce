"""Compares JSON with the types that the installed Stripe SDK declares for its objects."""

import types
from decimal import Decimal
from typing import Any, ForwardRef, Literal, Union, get_args, get_origin

import stripe
from stripe import StripeObject

_SIMPLE = (str, int, float, bool)
#: `object` of the JSON -> the SDK's class.
CLASSES: dict[str, type[StripeObject]] = {
    "customer": stripe.Customer,
    "product": stripe.Product,
    "price": stripe.Price,
    "subscription": stripe.Subscription,
    "subscription_item": stripe.SubscriptionItem,
    "subscription_schedule": stripe.SubscriptionSchedule,
    "invoice": stripe.Invoice,
    "line_item": stripe.InvoiceLineItem,
    "invoice_payment": stripe.InvoicePayment,
    "charge": stripe.Charge,
    "refund": stripe.Refund,
    "dispute": stripe.Dispute,
    "event": stripe.Event,
    "plan": stripe.Plan,
    "webhook_endpoint": stripe.WebhookEndpoint,
    "checkout.session": stripe.checkout.Session,
    "billing_portal.session": stripe.billing_portal.Session,
    "billing_portal.configuration": stripe.billing_portal.Configuration,
}


def differences(thing: dict[str, Any], cls: type[StripeObject] | None = None, where: str = "") -> list[str]:
    """Deviations of an object from the SDK's type: unknown fields, missing fields, values of a wrong type."""
    cls = cls or CLASSES[thing["object"]]
    where = where or cls.__name__
    fields = {name: kind for name, kind in _annotations(cls).items() if not name.startswith("_")}
    found = [f"{where}.{name} is not a field" for name in thing if name not in fields]
    for name, kind in fields.items():
        if name not in thing:
            if not _allows_none(kind):
                found.append(f"{where}.{name} is missing")
            continue
        found += _value(thing[name], kind, f"{where}.{name}")
    return found


def _annotations(cls: type) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("stripe.") and base is not StripeObject:
            merged |= {
                name: kind
                for name, kind in vars(base).get("__annotations__", {}).items()
                if get_origin(kind) is not None or not str(kind).startswith("ClassVar")
            }
    merged.pop("OBJECT_NAME", None)
    return merged


def _value(value: Any, kind: Any, where: str) -> list[str]:
    if value is None:
        return [] if _allows_none(kind) else [f"{where} is null"]
    choices = _choices(kind)
    if any(_is(value, each) for each in choices):
        return _inside(value, choices, where)
    return [f"{where} is {value!r:.60}, not {kind}"]


def _inside(value: Any, choices: list[Any], where: str) -> list[str]:
    if isinstance(value, dict):
        if value.get("object") == "list":
            return [line for each in value["data"] for line in differences(each, None, f"{where}[]")]
        if isinstance(value.get("object"), str) and value["object"] in CLASSES:
            return differences(value, None, where)
        nested = [each for each in choices if isinstance(each, type) and issubclass(each, StripeObject)]
        return differences(value, nested[0], where) if nested else []
    if isinstance(value, list):
        inner = [get_args(each)[0] for each in choices if get_origin(each) is list]
        return [line for one in value for line in (_value(one, inner[0], f"{where}[]") if inner else [])]
    return []


def _choices(kind: Any) -> list[Any]:
    if get_origin(kind) in (Union, types.UnionType):
        return [each for part in get_args(kind) for each in _choices(part)]
    return [kind]


def _allows_none(kind: Any) -> bool:
    return type(None) in _choices(kind)


def _is(value: Any, kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if origin is list:
        return isinstance(value, list)
    if kind in _SIMPLE:
        # bool is a subclass of int in Python, but a number is not a boolean in JSON.
        return type(value) is kind or (kind is float and type(value) is int)
    if kind is Decimal:
        return isinstance(value, str)  # the API writes decimals as strings
    if kind is Any:
        return True
    if isinstance(kind, type) and issubclass(kind, StripeObject):
        return isinstance(value, dict)
    if isinstance(kind, str | ForwardRef):
        return isinstance(value, dict)
    # ExpandableField, ListObject, UntypedStripeObject and dictionaries.
    return isinstance(value, str | dict)
