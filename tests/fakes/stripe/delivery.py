"""Delivers events, signed as Stripe signs them, and optionally duplicated, reordered, delayed or dropped."""

import hashlib
import hmac
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.stripe.shapes import Json
from tests.fakes.stripe.world import WEBHOOK_SECRET, World

#: Sends a body with its headers. Returns whether the answer was 2xx.
Send = Callable[[bytes, dict[str, str]], bool]


@dataclass
class Switches:
    """The faults of delivery; shares are between 0 and 1."""

    duplicated: float = 0.0
    dropped: float = 0.0
    is_shuffled: bool = False
    delayed_seconds: int = 0
    seed: int = 0
    dropped_ids: list[str] = field(default_factory=list)


def signature(payload: bytes, secret: str, timestamp: int) -> str:
    """The value of the `Stripe-Signature` header."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest},v0={'0' * 64}"


def signed(event: Json, now: int, secret: str = WEBHOOK_SECRET) -> tuple[bytes, dict[str, str]]:
    payload = json.dumps(event, indent=2).encode()
    return payload, {
        "Stripe-Signature": signature(payload, secret, now),
        "Content-Type": "application/json; charset=utf-8",
    }


class Courier:
    """Delivers a world's events. An event that is not accepted is sent again the next time, as by Stripe."""

    def __init__(self, world: World, send: Send, switches: Switches | None = None) -> None:
        self._world = world
        self._send = send
        self.switches = switches or Switches()
        self._random = random.Random(self.switches.seed)
        self._waiting: list[Json] = []

    def deliver(self) -> int:
        """Send the events that are due. Returns how many were accepted."""
        chance, switches = self._random, self.switches
        for event in self._world.take_outbox():
            if chance.random() < switches.dropped:
                switches.dropped_ids.append(event["id"])
                continue
            self._waiting += [event] * (2 if chance.random() < switches.duplicated else 1)
        if switches.is_shuffled:
            chance.shuffle(self._waiting)
        now = self._world.now
        due = [each for each in self._waiting if each["created"] + switches.delayed_seconds <= now]
        self._waiting = [each for each in self._waiting if each not in due]
        accepted = 0
        for event in due:
            if self._send(*signed(event, now)):
                accepted += 1
            else:
                self._waiting.append(event)
        return accepted
