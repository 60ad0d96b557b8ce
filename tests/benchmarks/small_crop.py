"""Crop of a small photo over HTTP by one caller: what a call costs besides the work itself.

The floor is decoding, cutting and encoding the photo in this process.
"""

from ml.imaging import codecs
from tests.benchmarks import load, ours
from tests.benchmarks.photos import SMALL, jpegs_of
from tests.benchmarks.report import Report

CALLS = 150  # in three turns within the rate of one account
TURNS = 3
P50_MS = 12.0


def main(report: Report) -> None:
    section = report.section(
        "Small crop", "a JPEG of 600 x 400 to 300 x 200, PNG over HTTP, one caller; the floor has no server"
    )
    photo = jpegs_of(SMALL)[0]
    calls = report.times(CALLS)

    def crop_here(_: int) -> None:
        codecs.encode(codecs.decode(photo).pixels[:200, :300], "png")

    with ours.serving() as server, server.client(server.customer) as client:

        def crop(_: int) -> None:
            ours.call(client, "crop", photo, width="300", height="200")

        for work in (crop, crop_here):
            load.run(work, callers=1, calls=20)  # imports and codecs
        measured = load.in_turns(
            {
                "ours": lambda: load.run(crop, callers=1, calls=calls),
                "floor": lambda: load.run(crop_here, callers=1, calls=calls),
            },
            report.times(TURNS),
        )
    mine, least = (load.merged(measured[name]) for name in ("ours", "floor"))
    section.add("p50", "ms", mine.p50_seconds * 1000, floor=least.p50_seconds * 1000, at_most=P50_MS)
    p95 = [one.percentile_seconds(95) * 1000 for one in (mine, least)]
    section.add("p95", "ms", p95[0], floor=p95[1])
