"""Cards, payments, refunds and disputes as JSON."""

from typing import Any

from tests.fakes.stripe.shapes import Json


def payment_method(object_id: str, now: int, customer: str, fingerprint: str) -> Json:
    return {
        "id": object_id,
        "object": "payment_method",
        "card": {"brand": "visa", "fingerprint": fingerprint, "last4": "4242"},
        "created": now,
        "customer": customer,
        "livemode": False,
        "type": "card",
    }


def invoice_payment(object_id: str, now: int, invoice_json: Json, intent_id: str) -> Json:
    return {
        "id": object_id,
        "object": "invoice_payment",
        "amount_paid": invoice_json["amount_due"],
        "amount_requested": invoice_json["amount_due"],
        "created": now,
        "currency": invoice_json["currency"],
        "invoice": invoice_json["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent_id, "type": "payment_intent"},
        "status": "paid",
        "status_transitions": {"canceled_at": None, "paid_at": now},
    }


def charge(object_id: str, now: int, invoice_json: Json, intent_id: str) -> Json:
    address: dict[str, Any] = {
        "city": None,
        "country": None,
        "line1": None,
        "line2": None,
        "postal_code": None,
        "state": None,
    }
    return {
        "id": object_id,
        "object": "charge",
        "amount": invoice_json["amount_due"],
        "amount_captured": invoice_json["amount_due"],
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": None,
        "balance_transaction": None,
        "billing_details": {"address": address, "email": None, "name": None, "phone": None, "tax_id": None},
        "calculated_statement_descriptor": None,
        "captured": True,
        "created": now,
        "currency": invoice_json["currency"],
        "customer": invoice_json["customer"],
        "description": None,
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "fraud_details": {},
        "livemode": False,
        "metadata": {},
        "on_behalf_of": None,
        "outcome": None,
        "paid": True,
        "payment_intent": intent_id,
        "payment_method": "pm_simulated",
        "payment_method_details": None,
        "receipt_email": None,
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "succeeded",
        "transfer_data": None,
        "transfer_group": None,
    }


def refund(object_id: str, now: int, charge_json: Json, amount: int) -> Json:
    return {
        "id": object_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge_json["id"],
        "created": now,
        "currency": charge_json["currency"],
        "metadata": {},
        "payment_intent": charge_json["payment_intent"],
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def dispute(object_id: str, now: int, charge_json: Json) -> Json:
    return {
        "id": object_id,
        "object": "dispute",
        "amount": charge_json["amount"],
        "balance_transactions": [],
        "charge": charge_json["id"],
        "created": now,
        "currency": charge_json["currency"],
        "enhanced_eligibility_types": [],
        "evidence": _EVIDENCE,
        "evidence_details": {
            "due_by": None,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge_json["payment_intent"],
        "reason": "fraudulent",
        "status": "needs_response",
    }


_EVIDENCE: Json = {"enhanced_evidence": {}}
