"""Stops a PostgreSQL server and removes its files as soon as the process that started this one is gone.

Started with the data directory as its argument and a pipe as its standard input; the pipe's other end closes
at the end of the tests, and also when they are killed, which no `finally` sees.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path


def main(directory: Path) -> None:
    sys.stdin.buffer.read()
    lock_file = directory / "postmaster.pid"
    try:
        pid = int(lock_file.read_text().splitlines()[0])
        os.kill(pid, signal.SIGINT)  # "fast shutdown": sessions that are still open are ended
    except (FileNotFoundError, ProcessLookupError):
        pass
    for _ in range(300):
        if not lock_file.exists():
            break
        time.sleep(0.1)
    shutil.rmtree(directory)


if __name__ == "__main__":
    # Ctrl-C reaches the whole group of processes; this one has to stay until the tests have ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(Path(sys.argv[1]))
