"""Limits on request bodies by sender, address and process."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api.errors import RateLimited, ServerBusy, status_and_code
from api.http.middleware import body_gate
from api.http.middleware.body_gate import BodyGate, Sender

MIB = 1024 * 1024
LARGEST = 52 * MIB
CAPACITY = 1024 * MIB
FREE = Sender("1.1.1.1", "acc_free", concurrent_calls=2)
PAID = Sender("2.2.2.2", "acc_paid", is_paid=True, concurrent_calls=50)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_gate, "WAIT_SECONDS", 0.0)


def run(scenario: Callable[[BodyGate], Awaitable[None]], capacity: int = CAPACITY) -> None:
    async def begin() -> None:
        gate = BodyGate(capacity, LARGEST)
        await scenario(gate)

    asyncio.run(begin())


async def admitted(gate: BodyGate, sender: Sender, size_bytes: int, most: int = 1000) -> int:
    """How many bodies of this size find room, before one is refused."""
    for count in range(most):
        try:
            await gate.admit(sender, size_bytes)
        except (RateLimited, ServerBusy):
            return count
    return most


def test_concurrent_bodies_are_limited_to_four_for_free_and_by_the_plan_for_paid_accounts() -> None:
    async def scenario(gate: BodyGate) -> None:
        assert await admitted(gate, FREE, 1) == body_gate.OF_ACCOUNT_MIN
        assert await admitted(gate, PAID, 1) == 50

    run(scenario)


def test_exceeding_the_limit_of_a_sender_is_429_and_that_of_the_process_503() -> None:
    async def scenario(gate: BodyGate) -> None:
        await admitted(gate, FREE, 1)
        with pytest.raises(RateLimited) as too_many:
            await gate.admit(FREE, 1)
        assert status_and_code(too_many.value) == (429, "RATE_LIMITED")
        payers = [
            Sender("2.2.2.2", f"acc_{number}", is_paid=True, concurrent_calls=50) for number in range(3)
        ]
        for payer in payers:
            await admitted(gate, payer, 24 * MIB)
        with pytest.raises(ServerBusy) as full:
            await gate.admit(Sender("3.3.3.3", "acc_new", is_paid=True), 24 * MIB)
        assert status_and_code(full.value) == (503, "OVERLOADED")
        for error in (too_many.value, full.value):
            assert error.retry_after_seconds is not None
            assert error.retry_after_seconds >= 1

    run(scenario)


def test_half_of_the_memory_is_reserved_for_paying_accounts() -> None:
    async def scenario(gate: BodyGate) -> None:
        for number in range(100):
            await admitted(gate, Sender(f"9.9.9.{number}", f"acc_{number}"), LARGEST)
            await admitted(gate, Sender(f"8.8.8.{number}", guest_id=f"guest_{number}"), LARGEST)
            await admitted(gate, Sender(f"7.7.7.{number}"), LARGEST)
        assert gate.bytes_in_flight <= CAPACITY // 2
        assert await admitted(gate, PAID, 24 * MIB) >= 20

    run(scenario)


def test_guests_behind_an_address_share_a_limit_that_does_not_affect_accounts() -> None:
    async def scenario(gate: BodyGate) -> None:
        guests = [Sender("1.1.1.1", guest_id=f"guest_{number}") for number in range(100)]
        assert sum([await admitted(gate, guest, 1) for guest in guests]) == body_gate.OF_GUESTS_AT_ADDRESS
        assert await admitted(gate, Sender("1.1.1.1"), 1) == 0
        assert await admitted(gate, FREE, 1) == body_gate.OF_ACCOUNT_MIN
        assert await admitted(gate, Sender("5.5.5.5", guest_id="guest_elsewhere"), 1) == body_gate.OF_GUEST

    run(scenario)


def test_many_accounts_behind_one_address_are_bounded_together() -> None:
    async def scenario(gate: BodyGate) -> None:
        accounts = [Sender("1.1.1.1", f"acc_{number}") for number in range(100)]
        counts = [await admitted(gate, account, 1) for account in accounts]
        assert sum(counts) == body_gate.OF_ACCOUNTS_AT_ADDRESS

    run(scenario)


def test_a_body_of_unknown_length_is_counted_as_it_grows() -> None:
    async def scenario(gate: BodyGate) -> None:
        admission = await gate.admit(FREE, 0)
        for size in range(MIB, LARGEST, MIB):
            admission.grow_to(size)
        assert gate.bytes_in_flight == LARGEST - MIB
        with pytest.raises((RateLimited, ServerBusy)):
            admission.grow_to(CAPACITY)
        assert gate.bytes_in_flight == LARGEST - MIB
        admission.close()
        assert (gate.bytes_in_flight, gate.bodies_arriving) == (0, 0)

    run(scenario)


def test_a_received_body_frees_its_slot_and_keeps_its_bytes_until_closed() -> None:
    async def scenario(gate: BodyGate) -> None:
        admissions = [await gate.admit(FREE, MIB) for _ in range(4)]
        for admission in admissions:
            admission.arrived()
            admission.arrived()
        assert (gate.bodies_arriving, gate.bytes_in_flight) == (0, 4 * MIB)
        for admission in admissions:
            admission.close()
            admission.close()
        assert (gate.bodies_arriving, gate.bytes_in_flight) == (0, 0)

    run(scenario)


def test_queued_bodies_are_all_admitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_gate, "WAIT_SECONDS", 60.0)

    async def send(gate: BodyGate) -> None:
        admission = await gate.admit(FREE, MIB)
        assert gate.bodies_arriving <= body_gate.OF_ACCOUNT_MIN
        await asyncio.sleep(0)
        admission.arrived()
        await asyncio.sleep(0)
        admission.close()

    async def scenario(gate: BodyGate) -> None:
        await asyncio.gather(*(send(gate) for _ in range(100)))
        assert (gate.bodies_arriving, gate.bytes_in_flight) == (0, 0)

    run(scenario)


def test_the_wait_queue_is_bounded_and_left_on_disconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_gate, "WAIT_SECONDS", 60.0)

    async def scenario(gate: BodyGate) -> None:
        admissions = [await gate.admit(FREE, MIB) for _ in range(4)]
        waiting = [asyncio.create_task(gate.admit(FREE, MIB)) for _ in range(body_gate.WAITING_OF_SENDER_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(RateLimited):
            await gate.admit(FREE, MIB)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for admission in admissions:
            admission.close()
        assert (gate.bodies_arriving, gate.bytes_in_flight) == (0, 0)
        (await gate.admit(FREE, MIB)).close()

    run(scenario)


def test_finished_senders_are_removed_from_the_table() -> None:
    async def scenario(gate: BodyGate) -> None:
        for number in range(1000):
            (await gate.admit(Sender(f"address {number}", f"acc_{number}"), MIB)).close()
        assert (len(gate._bodies), len(gate._bytes), len(gate._waiting)) == (0, 0, 0)

    run(scenario)


def test_one_body_of_maximum_size_fits_into_the_minimum_memory() -> None:
    async def scenario(gate: BodyGate) -> None:
        for sender in (FREE, PAID, Sender("1.1.1.1", guest_id="guest"), Sender("1.1.1.1")):
            (await gate.admit(sender, LARGEST)).close()

    run(scenario, capacity=128 * MIB)
