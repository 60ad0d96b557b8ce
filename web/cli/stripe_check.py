"""The part of `bgeraser serve --check` that asks Stripe whether plans can be bought."""

import typer

from api.settings import Settings, WrongSettings


def check(settings: Settings) -> None:
    """Warn of plans without a price, and if Stripe cannot be reached.

    Raises WrongSettings if Stripe refuses the key, or prices are of the other mode, test or live, than it.
    """
    # Imported here, because most commands need no payments.
    from api.payments.stripe_client import StripeAccess
    from billing.errors import StripeRefused, StripeUnavailable
    from billing.ledger.plans import PLANS

    stripe = StripeAccess.of(settings)
    if stripe is None:
        return
    try:
        prices = stripe.gateway.prices(is_quick=True)
    except StripeUnavailable as error:
        typer.echo(f"bgeraser warning: the prices were not checked: {error}", err=True)
        return
    except StripeRefused as error:
        raise WrongSettings(f"BGERASER_STRIPE_SECRET_KEY does not work: {error}.") from error
    missing = [plan.title for plan in PLANS.values() if plan.price_lookup_key and plan.name not in prices]
    if missing:
        typer.echo(
            f"bgeraser warning: Stripe has no price for {', '.join(missing)};"
            " run bgeraser admin stripe-setup",
            err=True,
        )
