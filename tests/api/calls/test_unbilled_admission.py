"""Admission of unbilled work by visitor, by network address and by process."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from api.calls import unbilled_admission
from api.calls.unbilled_admission import Claimant, UnbilledAdmission, UnbilledKind
from api.errors import RateLimited
from ml.backend import Priority
from ml.errors import Overloaded
from tests.support.waiting import run_ready_tasks

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def guest(name: str = "ses_1", network: str = "192.0.2.1") -> Claimant:
    return Claimant(name, network, Priority.GUEST)


def account(name: str = "acc_1", network: str = "192.0.2.1") -> Claimant:
    return Claimant(name, network, Priority.FREE)


def test_retry_after_is_accurate() -> None:
    work = UnbilledAdmission()
    for _ in range(60):
        work.admit(UnbilledKind.EDIT, account(), NOON).release()
    with pytest.raises(RateLimited) as refused:
        work.admit(UnbilledKind.EDIT, account(), NOON)
    work.admit(UnbilledKind.EDIT, account("acc_2"), NOON)
    seconds = refused.value.retry_after_seconds
    assert seconds is not None
    work.admit(UnbilledKind.EDIT, account(), NOON + timedelta(seconds=seconds))


def test_fresh_sessions_share_the_rate_of_their_network_address() -> None:
    work = UnbilledAdmission()
    for number in range(10):
        work.admit(UnbilledKind.RUN, guest(f"ses_{number}"), NOON).release()
    with pytest.raises(RateLimited):
        work.admit(UnbilledKind.RUN, guest("ses_fresh"), NOON)
    work.admit(UnbilledKind.RUN, guest("ses_fresh", "192.0.2.2"), NOON)


def test_a_call_counts_until_it_ends_and_a_refusal_does_not_count_towards_the_rate() -> None:
    work = UnbilledAdmission()
    first, _ = work.admit(UnbilledKind.RUN, guest(), NOON), work.admit(UnbilledKind.RUN, guest(), NOON)
    for _ in range(1000):
        with pytest.raises(RateLimited):
            work.admit(UnbilledKind.RUN, guest(), NOON)
    first.release()
    first.release()
    for _ in range(8):
        with work.admit(UnbilledKind.RUN, guest(), NOON):
            pass


def test_kinds_of_work_share_one_limit_per_visitor() -> None:
    work = UnbilledAdmission()
    for kind in (UnbilledKind.RUN, UnbilledKind.RUN, UnbilledKind.CONVERSION, UnbilledKind.OVERLAY):
        work.admit(kind, guest(), NOON)
    with pytest.raises(RateLimited):
        work.admit(UnbilledKind.OPENING, guest(), NOON)


def test_guests_of_a_network_address_share_a_limit() -> None:
    work = UnbilledAdmission()
    for number in range(unbilled_admission.GUEST_NETWORK_AT_ONCE):
        work.admit(UnbilledKind.RUN, guest(f"ses_{number}"), NOON)
    with pytest.raises(RateLimited):
        work.admit(UnbilledKind.RUN, guest("ses_fresh"), NOON)
    work.admit(UnbilledKind.LOOK, account(), NOON)


def test_guests_of_any_number_of_addresses_leave_capacity_for_accounts() -> None:
    work = UnbilledAdmission()
    for number in range(unbilled_admission.GUESTS_AT_ONCE):
        work.admit(UnbilledKind.RUN, guest(f"ses_{number}", f"192.0.2.{number}"), NOON)
    with pytest.raises(Overloaded):
        work.admit(UnbilledKind.RUN, guest("ses_fresh", "192.0.2.200"), NOON)
    for number in range(unbilled_admission.PROCESS_AT_ONCE - unbilled_admission.GUESTS_AT_ONCE):
        work.admit(UnbilledKind.CONVERSION, account(f"acc_{number}", f"198.51.100.{number}"), NOON)
    with pytest.raises(Overloaded):
        work.admit(UnbilledKind.CONVERSION, account("acc_fresh", "198.51.100.200"), NOON)


def test_tracked_visitors_are_bounded() -> None:
    work = UnbilledAdmission()
    for number in range(20_000):
        work.admit(UnbilledKind.LOOK, account(f"acc_{number}", f"{number}"), NOON).release()
    assert len(work._rates) == 10_000
    assert not work._running


async def _hold(work: UnbilledAdmission, claimant: Claimant, begun: list[str], gate: asyncio.Event) -> None:
    async with work.preview_turn(claimant):
        begun.append(claimant.name)
        await gate.wait()


def test_previews_queue_per_visitor_and_guests_share_part_of_the_process() -> None:
    async def main() -> None:
        work, gate = UnbilledAdmission(), asyncio.Event()
        begun: list[str] = []
        waiting = [guest("greedy", "192.0.2.9")] * 9
        waiting += [guest(f"ses_{number}", f"192.0.2.{number}") for number in range(5)]
        waiting += [account("acc_1")] * 3
        tasks = [asyncio.create_task(_hold(work, claimant, begun, gate)) for claimant in waiting]
        await run_ready_tasks()
        assert sorted(begun) == ["acc_1", "acc_1", "greedy", "greedy", "ses_0", "ses_1"]
        tasks[0].cancel()
        await run_ready_tasks()
        assert len(begun) == 7  # the turn of one that went away is another's
        gate.set()
        await asyncio.gather(*tasks[1:])
        assert len(begun) == 17
        assert not work._waiting

    asyncio.run(main())


def test_the_preview_queue_is_bounded() -> None:
    async def main() -> None:
        work, gate = UnbilledAdmission(), asyncio.Event()
        most = unbilled_admission.PREVIEWS_WAITING_OF_NETWORK
        tasks = [asyncio.create_task(_hold(work, guest(), [], gate)) for _ in range(most)]
        await run_ready_tasks()
        with pytest.raises(RateLimited):
            await _hold(work, guest("ses_fresh"), [], gate)
        gate.set()
        await asyncio.gather(*tasks)
        await _hold(work, guest("ses_fresh"), [], gate)

    asyncio.run(main())
