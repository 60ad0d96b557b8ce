"""The images of a batch that are fetched by URL."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, col, func, select

from api.batches import service as batches
from api.batches.models import Batch, BatchItem
from api.batches.runs import BatchRunner
from billing.ledger.plans import PlanName
from tests.support.apps import LocalApi, local_api
from tests.support.batch_rows import make_batch
from tests.support.load import account_with
from tests.support.ml.photos import photo, png_bytes
from tests.support.remote_host import RemoteHost, files_of, running_host
from tests.support.waiting import wait_until

_IMAGES = 20


@pytest.fixture
def host() -> Iterator[RemoteHost]:
    with running_host() as running:
        yield running


@pytest.fixture
def api(tmp_path: Path, host: RemoteHost) -> Iterator[LocalApi]:
    with local_api(tmp_path, remote_files=files_of(host, seconds=600.0)) as opened:
        yield opened


def test_an_address_that_does_not_answer_holds_up_no_others(api: LocalApi, host: RemoteHost) -> None:
    def never(_: bytes, _connection: ssl.SSLSocket) -> None:
        host.wait_until_stopped()

    picture = png_bytes(photo("chelsea")[:20, :20])
    urls = [host.respond("/0.png", never)]
    urls += [host.serve(f"/{number}.png", picture) for number in range(1, _IMAGES)]
    api.call(api.services.engine.prepare)

    def create(session: Session) -> Batch:
        account = account_with(session, _IMAGES, PlanName.BUSINESS, api.clock())
        batch = make_batch(session, account.id, api.clock(), [f"{number}.png" for number in range(_IMAGES)])
        for item in session.exec(select(BatchItem).where(BatchItem.batch_id == batch.id)):
            item.url, item.source_id = urls[item.position], None
        return batch

    batch = api.services.database.submit(create).result()
    task_id = f"{batch.id}-{batch.activation}"
    api.start(lambda: BatchRunner(api.services).run(task_id))

    def fetched() -> int:
        statement = select(func.count()).where(
            BatchItem.batch_id == batch.id, col(BatchItem.source_id).is_not(None)
        )
        with api.services.database.transaction() as session:
            return session.exec(statement).one()

    # More than are fetched at once: the first one still takes one of the places.
    wait_until(lambda: fetched() >= 12)
    api.call(batches.cancel, api.services, batch.account_id, batch.id)  # lets the task end
