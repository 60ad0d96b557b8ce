"""The `bgeraser` command for the demonstration, with the simulator's clock.

The simulator writes the offset of its clock, in seconds, to the file that SIMULATOR_CLOCK_FILE names.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from billing import timestamps

CLOCK_FILE = "SIMULATOR_CLOCK_FILE"


def shifted_now() -> datetime:
    try:
        ahead = int(Path(os.environ[CLOCK_FILE]).read_text(encoding="ascii"))
    except (OSError, ValueError):
        ahead = 0  # the clock has not been moved yet
    return datetime.now(UTC) + timedelta(seconds=ahead)


def main() -> None:
    # Patched before other modules import the function by name.
    timestamps.utc_now = shifted_now
    from web.cli.main import app

    app()


if __name__ == "__main__":
    main()
