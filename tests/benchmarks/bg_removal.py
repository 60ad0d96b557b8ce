"""Background removal beside `rembg s` and the least that it costs: the same checkpoint, photos and machine.

Both servers get JPEGs over HTTP and answer PNG bytes. They and the floor (`floor.py`) are warm, and take
turns. Only photos in which both find the same object are compared.
"""

from collections.abc import Callable
from functools import partial

import httpx

from tests.benchmarks import floor, load, ours, peer
from tests.benchmarks.photos import NAMES, SIZES, SMALL, iou, jpegs_of
from tests.benchmarks.report import Report, Section

CALLS = 4  # in a turn
CALLERS = {"1 caller": 1, "4 callers": 4}
TURNS = {"1 MP": 3, "9 MP": 2}
SAME_IOU = 0.9


def main(report: Report) -> None:
    section = report.section(
        "Cut-out",
        f"{peer.ABOUT}, JPEG to PNG over HTTP; the floor is decode, one run of the network and encode in the"
        " server's kind of workers",
        peer.SERVER,
    )
    with (
        peer.serving() as theirs,
        ours.serving() as server,
        floor.working() as least,
        httpx.Client(timeout=600) as their_client,
        server.client(server.customer) as our_client,
    ):

        def call_ours(photo: bytes) -> bytes:
            return ours.call(our_client, "bg-removal", photo, model="quality")

        def call_theirs(photo: bytes) -> bytes:
            return theirs.cut_out(their_client, photo)

        small = jpegs_of(SMALL)[0]
        for call in (call_ours, call_theirs):
            # At once, so that every worker of ours has one.
            load.run(lambda _: call(small), callers=4, calls=4)  # noqa: B023
        for size, pixels in report.cases(SIZES.items()):
            named = report.cases(zip(NAMES, jpegs_of(pixels), strict=True))
            photos = _comparable(section, size, named, call_ours, call_theirs)
            precision = least(photos[0]).precision
            section.note(f"The network of the server and the floor computed in {precision} at {size}.")
            for case, callers in CALLERS.items():
                works: dict[str, Callable[[bytes], object]] = {
                    "ours": call_ours,
                    "peer": call_theirs,
                    "floor": least,
                }
                turns = {
                    name: partial(_turn, call, photos, callers, report.times(CALLS))
                    for name, call in works.items()
                }
                measured = load.in_turns(turns, report.times(TURNS[size]))
                _add_rows(section, f"{size}, {case}", measured)


def _comparable(
    section: Section,
    size: str,
    named: list[tuple[str, bytes]],
    call_ours: Callable[[bytes], bytes],
    call_theirs: Callable[[bytes], bytes],
) -> list[bytes]:
    """Those photos of which both make nearly the same cut-out."""
    agreement = {name: iou(call_ours(photo), call_theirs(photo)) for name, photo in named}
    figures = ", ".join(f"{name} {value:.2f}" for name, value in agreement.items())
    section.note(f"Overlap (IoU) of both cut-outs at {size}: {figures}; below {SAME_IOU} it is not compared.")
    same = [photo for name, photo in named if agreement[name] >= SAME_IOU]
    if not same:
        raise RuntimeError("the two servers find the same object in none of the photos")
    return same


def _turn(call: Callable[[bytes], object], photos: list[bytes], callers: int, calls: int) -> load.Measured:
    # At least one call for each caller, or fewer callers would be measured.
    return load.run(lambda n: call(photos[n % len(photos)]), callers=callers, calls=max(calls, callers))


def _add_rows(section: Section, case: str, measured: dict[str, list[load.Measured]]) -> None:
    mine, theirs, least = (load.merged(measured[name]) for name in ("ours", "peer", "floor"))
    section.add(case, "images/s", mine.per_second, peer=theirs.per_second, floor=least.per_second)
    p95 = (one.percentile_seconds(95) for one in (mine, theirs, least))
    section.add(f"{case}, p95", "s", next(p95), peer=next(p95), floor=next(p95))
