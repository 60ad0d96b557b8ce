"""`make run-billing-demo`: bgeraser with the simulator as its Stripe, for clicking through an upgrade.

No real money is involved: the simulator runs on this machine, and its pages say so.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from tests.fakes.stripe import backstage, lifecycle
from tests.fakes.stripe.delivery import Courier
from tests.fakes.stripe.demo_server import CLOCK_FILE
from tests.fakes.stripe.server import serving
from tests.fakes.stripe.world import SECRET_KEY, WEBHOOK_SECRET, World

SIMULATOR_PORT = int(os.environ.get("SIMULATOR_PORT", "12111"))
SERVER_PORT = int(os.environ.get("PORT", "8000"))
_TICK_SECONDS = 0.5


def main() -> None:
    address = f"http://127.0.0.1:{SERVER_PORT}"
    data_dir = Path(os.environ.get("BGERASER_DATA_DIR", "data"))
    # The simulator keeps its state in memory only, so each demonstration starts with an empty database.
    demo_dir = data_dir / f"billing-demo-{int(time.time())}"
    demo_dir.mkdir(parents=True)
    clock_file = demo_dir / "clock"
    world = World(int(time.time()))
    stopping = threading.Event()
    courier = Courier(world, lambda payload, headers: _post(f"{address}/stripe/webhook", payload, headers))
    carrier = threading.Thread(
        target=_carry, args=(world, courier, clock_file, stopping), name="stripe-courier"
    )
    with serving(world, SIMULATOR_PORT) as simulator:
        environment = os.environ | {
            CLOCK_FILE: str(clock_file),
            "BGERASER_DATA_DIR": str(demo_dir),
            "BGERASER_MODELS_DIR": os.environ.get("BGERASER_MODELS_DIR", str(data_dir / "models")),
            "BGERASER_PUBLIC_URL": address,
            "BGERASER_STRIPE_API_BASE": simulator,
            "BGERASER_STRIPE_SECRET_KEY": SECRET_KEY,
            "BGERASER_STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        command = [sys.executable, "-m", "tests.fakes.stripe.demo_server"]
        prices = ["--standard", "9.00", "--business", "49.00", "--currency", "usd"]
        prices += ["--pack", "100:5.00", "--pack", "1000:39.00"]
        # Its output, which includes the secret, is for operators; here the environment has it all.
        setup = subprocess.run(
            [*command, "admin", "stripe-setup", *prices],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        if setup.returncode != 0:
            sys.exit(setup.stderr)
        sys.stderr.write(
            f"\nA simulated Stripe runs at {simulator}. Sign up at {address}, open the plans and upgrade:\n"
            "the pay page is the simulator's, any account and card there is made up.\n"
            f"Time passes, payments are refunded and disputed at {simulator}{backstage.PATH}.\n\n"
        )
        carrier.start()
        try:
            subprocess.run([*command, "serve", "--port", str(SERVER_PORT)], env=environment, check=False)
        except KeyboardInterrupt:
            pass
        finally:
            stopping.set()
            carrier.join()


def _carry(world: World, courier: Courier, clock_file: Path, stopping: threading.Event) -> None:
    """Keeps the simulator's clock in step with real time and delivers its events."""
    while not stopping.wait(_TICK_SECONDS):
        with world.lock:
            lifecycle.advance(world, max(0, int(time.time()) + world.ahead_seconds - world.now))
            clock_file.write_text(str(world.ahead_seconds), encoding="ascii")
        courier.deliver()


def _post(url: str, payload: bytes, headers: dict[str, str]) -> bool:
    try:
        return httpx.post(url, content=payload, headers=headers, timeout=10).is_success
    except httpx.TransportError:
        return False  # delivered again at the next tick


if __name__ == "__main__":
    main()
