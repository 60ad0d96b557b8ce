"""The simulated Stripe account: its objects, its clock, its events, and the cards of its customers."""

import copy
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.stripe import shapes
from tests.fakes.stripe.shapes import Json

API_VERSION = "2026-10-28.endive"
SECRET_KEY = "sk_test_simulation"
WEBHOOK_SECRET = "whsec_simulation"


class NotFound(Exception):
    """There is no object with this id."""

    def __init__(self, kind: str, object_id: str, param: str = "id") -> None:
        super().__init__(f"No such {kind}: '{object_id}'")
        self.param = param
        # 404 for an id in the path, 400 for an id in a parameter.
        self.status = 404 if param == "id" else 400


class Gate:
    """Keeps a request waiting until `open`, for tests of what happens meanwhile."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        self.open.wait()


@dataclass(frozen=True)
class LoggedRequest:
    """What Stripe's dashboard shows of a request in its log."""

    method: str
    path: str
    idempotency_key: str | None
    api_version: str | None


class World:
    """`now` is in Unix seconds and only changes when a test advances it. Hold `lock` for every access."""

    def __init__(self, now: int, address: str = "http://stripe.test") -> None:
        self.now = now
        self.address = address
        self.objects: dict[str, Json] = {}
        self.events: list[Json] = []
        #: Events that were not yet taken for delivery.
        self.outbox: list[Json] = []
        self.declined_customers: set[str] = set()
        #: Checkouts with a pending payment: they are open and cannot be expired.
        self.sessions_being_paid: set[str] = set()
        #: The fingerprint of a customer's card, for tests that need one.
        self.cards: dict[str, str] = {}
        self.cardless_customers: set[str] = set()
        #: Proration lines of the next invoice, by subscription.
        self.pending_lines: dict[str, list[Json]] = {}
        #: The parameters that a checkout was created with, by its id; they are not part of the object.
        self.orders: dict[str, Json] = {}
        self.calls: list[str] = []  # "GET /v1/prices", for tests that count them
        self.requests: list[LoggedRequest] = []
        #: How many answers of a request are lost on the way, after it was acted upon: "POST /v1/customers".
        self.cuts: Counter[str] = Counter()
        self.is_down = False
        #: Requests that wait before they are answered, by "POST /v1/checkout/sessions" or the like.
        self.gates: dict[str, Gate] = {}
        #: How far the clock was advanced beyond real time, for the demonstration.
        self.ahead_seconds = 0
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_sim{next(self._numbers):08d}"

    def add(self, thing: Json) -> Json:
        self.objects[thing["id"]] = thing
        return thing

    def get(self, object_id: Any) -> Json:
        if not isinstance(object_id, str) or object_id not in self.objects:
            raise NotFound("object", str(object_id))
        return self.objects[object_id]

    def customer(self, object_id: Any) -> Json:
        """A customer that a request's parameter names; a deleted one is not found."""
        found = self.objects.get(object_id)
        if found is None or found.get("deleted"):
            raise NotFound("customer", str(object_id), "customer")
        return found

    def all(self, kind: str, **equal: Any) -> Iterator[Json]:
        """The objects of a kind whose fields have the given values, the oldest first."""
        for thing in list(self.objects.values()):
            if thing["object"] == kind and all(thing.get(name) == value for name, value in equal.items()):
                yield thing

    def record_event(self, kind: str, thing: Json) -> None:
        """Record an event with the object's present state."""
        event = shapes.event(self.new_id("evt"), self.now, kind, copy.deepcopy(thing), API_VERSION)
        self.events.append(event)
        self.outbox.append(event)

    def take_outbox(self) -> list[Json]:
        with self.lock:
            taken, self.outbox = self.outbox, []
        return taken
