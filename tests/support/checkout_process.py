"""A second server process beside a test's shop, which opens a checkout page and prints its address.

Usage: python -m tests.support.checkout_process DIRECTORY STRIPE_ADDRESS UNIX_SECONDS ACCOUNT_ID PLAN
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from api.payments import plans
from billing.ledger.plans import PlanName
from tests.fakes.stripe.world import SECRET_KEY
from tests.support.apps import Clock, local_api


def main(directory: str, address: str, unix_seconds: str, account_id: str, plan: str) -> None:
    clock = Clock()
    clock.now = datetime.fromtimestamp(int(unix_seconds), UTC)
    key = SecretStr(SECRET_KEY)
    with local_api(Path(directory), clock, stripe_secret_key=key, stripe_api_base=address) as api:
        url = api.call(plans.checkout_url, api.services, account_id, PlanName(plan), "http://test")
    sys.stdout.write(url)


if __name__ == "__main__":
    main(*sys.argv[1:])
