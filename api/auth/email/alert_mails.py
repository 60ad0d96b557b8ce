"""The mails about alerts."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from api.alerts.models import AlertKind
from api.auth.email.letters import Letter, Link, as_html, as_text, one_line
from api.auth.email.mailer import MailMessage
from billing.ledger.plans import PLANS, PlanName

Facts = dict[str, Any]

#: What each kind is called where mails are switched off.
TITLES = {
    AlertKind.CREDITS_LOW: "Credits are running low",
    AlertKind.CREDITS_EXHAUSTED: "All credits are used",
    AlertKind.PAYMENT_FAILED: "A payment failed",
    AlertKind.KEY_ENDING: "An API key is about to end",
    AlertKind.SIGN_IN: "A sign-in from a new browser",
}


def compose(
    kind: AlertKind, facts: Facts, to: str, *, public_url: str, message_id: str, unsubscribe_token: str | None
) -> MailMessage:
    """The mail about an alert. `public_url`: without a trailing slash; all links begin with it."""
    subject, letter = _WRITERS[kind](facts, public_url)
    settings = Link("Choose which mails you get", f"{public_url}/settings#alerts")
    footer = [(f"You get this because mails about “{TITLES[kind]}” are on.", settings)]
    unsubscribe_url = ""
    if unsubscribe_token is not None:
        unsubscribe_url = f"{public_url}/unsubscribe?token={unsubscribe_token}"
        footer.append(("No more mails of this kind?", Link("Switch them off", unsubscribe_url)))
    whole = Letter(letter.title, letter.paragraphs, letter.action, letter.facts, tuple(footer))
    return MailMessage(
        to,
        subject,
        as_text(whole),
        html=as_html(whole),
        message_id=message_id,
        unsubscribe_url=unsubscribe_url,
    )


def _credits_low(facts: Facts, public_url: str) -> tuple[str, Letter]:
    left = facts["credits"]["available"] + facts["credits"]["held"]
    counted = "1 credit is left" if left == 1 else f"{left:,} credits are left"
    letter = Letter(
        f"{counted[0].upper()}{counted[1:]}",
        (
            "Your bgeraser account has used at least four fifths of its credits. When none are left, calls"
            " are refused until new ones arrive; nothing is charged for those.",
        ),
        Link("See plans and packs", f"{public_url}/plans"),
        _credit_rows(facts),
    )
    return f"{counted[0].upper()}{counted[1:]} in your bgeraser account", letter


def _credits_exhausted(facts: Facts, public_url: str) -> tuple[str, Letter]:
    letter = Letter(
        "All credits are used",
        (
            "Your bgeraser account has no credits left. API calls answer 402 and the editor asks for credits"
            " until new ones arrive. Batches that wait for credits go on by themselves then.",
        ),
        Link("See plans and packs", f"{public_url}/plans"),
        _credit_rows(facts),
    )
    return "Your bgeraser account has no credits left", letter


def _payment_failed(facts: Facts, public_url: str) -> tuple[str, Letter]:
    plan = PLANS[PlanName(facts["plan"])].title
    letter = Letter(
        f"The payment for {plan} failed",
        (
            f"Your card or bank did not pay the last invoice of the {plan} plan. It is tried again over the"
            " next days; you need not do anything if the reason is gone.",
            "Otherwise choose another way to pay. Without a payment the account returns to the free plan.",
        ),
        Link("Manage the subscription", f"{public_url}/plans"),
        (
            ("Plan", plan),
            ("Unpaid since", _day(facts["unpaidSince"])),
            ("Plan ends", _time(facts["planEndsAt"])),
        ),
    )
    return f"The payment for your bgeraser {plan} plan failed", letter


def _key_ending(facts: Facts, public_url: str) -> tuple[str, Letter]:
    name, ends_at = one_line(facts["name"]), _time(facts["endsAt"])
    was_rotated = facts["reason"] == "rotated"
    why = (
        "It was replaced by another key, and the time in which both work ends then. Programs that still use"
        " the former key are refused afterwards: give them the new one."
        if was_rotated
        else "That is the day which was chosen for it. Programs that use it are refused afterwards: give them"
        " another key before."
    )
    if facts.get("isOfAnother"):
        why += " You made it as a member of somebody else's account: choose that account on the dashboard."
    letter = Letter(
        f"An API key ends on {ends_at}",
        (why,),
        Link("Open the dashboard", f"{public_url}/app/dashboard"),
        (("Name", name), ("Key", f"{one_line(facts['firstCharacters'])}…"), ("Ends", ends_at)),
    )
    return f"The API key “{one_line(name, 40)}” ends on {_day(facts['endsAt'])}", letter


def _sign_in(facts: Facts, public_url: str) -> tuple[str, Letter]:
    letter = Letter(
        "A new browser signed in",
        (
            "A browser that was not used with your bgeraser account before has signed in to it.",
            "If it was you, all is well. If not, change your password, which signs out all other browsers,"
            " and rotate your API keys.",
        ),
        Link("See the browsers and change the password", f"{public_url}/settings"),
        (
            ("Browser", one_line(facts["browser"])),
            ("Address", one_line(facts["address"]) or "unknown"),
            ("Time", _time(facts["signedInAt"])),
        ),
    )
    return "A new browser signed in to your bgeraser account", letter


def _credit_rows(facts: Facts) -> tuple[tuple[str, str], ...]:
    credits_ = facts["credits"]
    rows = [("Plan", PLANS[PlanName(facts["plan"])].title)]
    if credits_["packCredits"]:
        rows.append(("Of packs", f"{credits_['packCredits']:,}"))
    if credits_["renewsAt"] is not None:
        rows.append(("New credits", _time(credits_["renewsAt"])))
    return tuple(rows)


def _time(timestamp: str) -> str:
    return f"{_moment(timestamp):%-d %B %Y, %H:%M} UTC"


def _day(timestamp: str) -> str:
    return f"{_moment(timestamp):%-d %B %Y}"


def _moment(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp)


_WRITERS: dict[AlertKind, Callable[[Facts, str], tuple[str, Letter]]] = {
    AlertKind.CREDITS_LOW: _credits_low,
    AlertKind.CREDITS_EXHAUSTED: _credits_exhausted,
    AlertKind.PAYMENT_FAILED: _payment_failed,
    AlertKind.KEY_ENDING: _key_ending,
    AlertKind.SIGN_IN: _sign_in,
}
