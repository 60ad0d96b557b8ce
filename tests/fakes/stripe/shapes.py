"""Stripe's objects as JSON, in the API version of the installed SDK."""

from typing import Any

Json = dict[str, Any]


def collection(data: list[Json], url: str, has_more: bool = False) -> Json:
    return {"object": "list", "data": data, "has_more": has_more, "url": url}


def customer(object_id: str, now: int, values: Json) -> Json:
    return {
        "id": object_id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "email": values.get("email"),
        "invoice_prefix": object_id[-8:].upper(),
        "livemode": False,
        "metadata": values.get("metadata", {}),
        "name": values.get("name"),
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def product(object_id: str, now: int, values: Json) -> Json:
    return {
        "id": object_id,
        "object": "product",
        "active": True,
        "created": now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": values.get("metadata", {}),
        "name": values["name"],
        "package_dimensions": None,
        "shippable": None,
        "tax_code": None,
        "type": "service",
        "updated": now,
        "url": None,
    }


def price(object_id: str, now: int, values: Json) -> Json:
    recurring = {"interval": "month", "interval_count": 1, "meter": None, "usage_type": "licensed"}
    return {
        "id": object_id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": now,
        "currency": values["currency"],
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": values.get("lookup_key"),
        "metadata": values.get("metadata", {}),
        "nickname": values.get("nickname"),
        "product": values["product"],
        "recurring": recurring if "recurring" in values else None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if "recurring" in values else "one_time",
        "unit_amount": int(values["unit_amount"]),
        "unit_amount_decimal": str(values["unit_amount"]),
    }


def webhook_endpoint(object_id: str, now: int, values: Json) -> Json:
    return {
        "id": object_id,
        "object": "webhook_endpoint",
        "api_version": values.get("api_version"),
        "application": None,
        "created": now,
        "description": None,
        "enabled_events": list(values["enabled_events"]),
        "livemode": False,
        "metadata": values.get("metadata", {}),
        "status": "enabled",
        "url": values["url"],
    }


def portal_configuration(object_id: str, now: int, values: Json) -> Json:
    wanted = values["features"]
    update = wanted["subscription_update"]
    return {
        "id": object_id,
        "object": "billing_portal.configuration",
        "active": True,
        "application": None,
        "business_profile": {"headline": None, "privacy_policy_url": None, "terms_of_service_url": None},
        "created": now,
        "default_return_url": None,
        "features": {
            "customer_update": {"allowed_updates": ["address"], "enabled": True},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True, "payment_method_configuration": None},
            "subscription_cancel": {
                "cancellation_reason": {"enabled": False, "options": []},
                "enabled": True,
                "mode": wanted["subscription_cancel"]["mode"],
                "proration_behavior": "none",
            },
            "subscription_pause": {
                "duration": {"interval_options": [], "type": "indefinite"},
                "enabled": False,
            },
            "subscription_update": {
                "billing_cycle_anchor": None,
                "default_allowed_updates": update["default_allowed_updates"],
                "enabled": True,
                "products": [
                    {
                        "adjustable_quantity": {"enabled": False, "maximum": None, "minimum": 1},
                        "prices": each["prices"],
                        "product": each["product"],
                    }
                    for each in update["products"]
                ],
                "proration_behavior": update["proration_behavior"],
                "schedule_at_period_end": {
                    "conditions": update.get("schedule_at_period_end", {}).get("conditions", [])
                },
                "trial_update_behavior": "end_trial",
            },
        },
        "is_default": False,
        "livemode": False,
        "login_page": {"enabled": False, "url": None},
        "metadata": values.get("metadata", {}),
        "name": values.get("name"),
        "updated": now,
    }


def portal_session(object_id: str, now: int, values: Json, url: str) -> Json:
    return {
        "id": object_id,
        "object": "billing_portal.session",
        "configuration": values.get("configuration", "bpc_default"),
        "created": now,
        "customer": values["customer"],
        "flow": None,
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": values.get("return_url"),
        "url": url,
    }


def checkout_session(object_id: str, now: int, values: Json, url: str, amount: int, currency: str) -> Json:
    return {
        "id": object_id,
        "object": "checkout.session",
        "adaptive_pricing": None,
        "after_expiration": None,
        "allow_promotion_codes": values.get("allow_promotion_codes") == "true" or None,
        "amount_subtotal": amount,
        "amount_total": amount,
        "automatic_tax": {
            "enabled": values.get("automatic_tax", {}).get("enabled") == "true",
            "liability": None,
            "provider": None,
            "status": None,
        },
        "billing_address_collection": values.get("billing_address_collection"),
        "cancel_url": values.get("cancel_url"),
        "client_reference_id": values.get("client_reference_id"),
        "client_secret": None,
        "consent": None,
        "consent_collection": None,
        "created": now,
        "currency": currency,
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": values["customer"],
        "customer_creation": None,
        "customer_details": None,
        "customer_email": None,
        "expires_at": now + 86_400,
        "invoice": None,
        "invoice_creation": _invoice_creation(values),
        "livemode": False,
        "locale": None,
        "metadata": values.get("metadata", {}),
        "mode": values["mode"],
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "always",
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": values.get("success_url"),
        "tax_id_collection": {
            "enabled": values.get("tax_id_collection", {}).get("enabled") == "true",
            "required": "never",
        },
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": url,
    }


def _invoice_creation(values: Json) -> Json | None:
    """None for a subscription, whose invoices are made anyway."""
    if values["mode"] != "payment":
        return None
    wanted = values.get("invoice_creation", {})
    data = {
        "account_tax_ids": None,
        "custom_fields": None,
        "description": None,
        "footer": None,
        "issuer": None,
        "metadata": wanted.get("invoice_data", {}).get("metadata", {}),
        "rendering_options": None,
    }
    return {"enabled": wanted.get("enabled") == "true", "invoice_data": data}


def event(object_id: str, now: int, kind: str, thing: Json, api_version: str) -> Json:
    return {
        "id": object_id,
        "object": "event",
        "api_version": api_version,
        "created": now,
        "data": {"object": thing},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }
