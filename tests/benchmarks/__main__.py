"""`make bench`: every benchmark, or those named: `python -m tests.benchmarks bg_removal`."""

import importlib
import sys

BENCHMARKS = (
    "bg_removal",
    "folder",
    "selecting",
    "upscale",
    "filling",
    "diffusion",
    "admissions",
    "loop_lag",
    "fairness",
    "editor_page",
    "look_changes",
)


def main() -> None:
    names = sys.argv[1:] or BENCHMARKS
    for name in names:
        if name not in BENCHMARKS:
            sys.exit(f"no benchmark is called {name}; there are: {', '.join(BENCHMARKS)}")
    for name in names:
        importlib.import_module(f"tests.benchmarks.{name}").main()


if __name__ == "__main__":
    main()
