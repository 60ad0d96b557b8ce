"""`bgeraser run` through the API: nothing is paid twice, limits are obeyed, refusals end the run."""

import asyncio
from pathlib import Path

import pytest
from sqlmodel import select

from api.images.models import Image
from billing.ledger.plans import PlanName
from tests.support.cli_runs import lines, make_pictures, run, small_picture, started, tree
from tests.support.cutting_proxy import cutting
from tests.support.ml.photos import open_bytes
from tests.support.server import Customer, RunningServer
from tests.support.waiting import wait_until
from web.cli.run import parameters
from web.cli.run.remote import ApiRunner
from web.cli.run.types import Result, RunStopped

HALF = ("-p", "width=50%")


def settings(server: RunningServer, customer: Customer) -> dict[str, str]:
    return {"BGERASER_URL": server.address, "BGERASER_KEY": customer.key}


def test_results_and_failures_are_those_of_the_api(server: RunningServer, tmp_path: Path) -> None:
    customer = server.new_customer(credits=9)
    ours = settings(server, customer)
    make_pictures(tmp_path / "in/sub", 3)
    (tmp_path / "in/no-picture.png").write_bytes(b"text")
    (tmp_path / "in/empty.png").touch()
    done = run(tmp_path, "crop", "in", "-o", "out", "--json", *HALF, settings=ours)
    assert done.returncode == 1
    by_input = {line["input"]: line for line in lines(done)}
    assert by_input["in/no-picture.png"]["error"]["code"] == "UNSUPPORTED_FORMAT"
    assert by_input["in/empty.png"]["error"]["message"] == "is empty"
    line = by_input["in/sub/p000.jpg"]
    assert line["creditsRemaining"] in (6, 7, 8)
    assert (line["output"], line["width"], line["creditsCharged"]) == ("out/sub/p000.jpg", 30, 1)
    assert open_bytes((tmp_path / "out/sub/p000.jpg").read_bytes()).shape == (40, 30, 3)
    assert tree(tmp_path / "out") == [f"sub/p00{number}.jpg" for number in range(3)]
    assert b"3 done, 2 failed" in done.stderr
    assert b", 3 credits" in done.stderr
    assert server.balance(customer) == (6, 0)
    # The same again is replayed; a deliberate new run is charged.
    again = run(tmp_path, "crop", "in/sub", "-o", "out2", "--json", *HALF, settings=ours)
    assert [line["creditsCharged"] for line in lines(again)] == [0, 0, 0]
    assert not any(
        "creditsRemaining" in line for line in lines(again)
    )  # it would be that of the first answer
    assert server.balance(customer) == (6, 0)
    fresh = run(tmp_path, "crop", "in/sub", "-o", "out2", "--fresh", *HALF, settings=ours)
    assert fresh.returncode == 0
    assert server.balance(customer) == (3, 0)


def killed_and_run_again(server: RunningServer, folder: Path, pictures: int, done_before: int) -> None:
    """Kill a run after some results, run it again, and check what the account paid."""
    customer = server.new_customer(plan=PlanName.BUSINESS)
    credits, _ = server.balance(customer)
    make_pictures(folder / "in", pictures)
    out = folder / "out"
    with started(folder, "crop", "in", "-o", "out", *HALF, settings=settings(server, customer)) as process:
        wait_until(lambda: len(list(out.glob("[!.]*"))) >= done_before, every_seconds=0.005)
        process.kill()
    assert len(list(out.glob("[!.]*"))) < pictures
    for path in out.glob("[!.]*"):
        assert open_bytes(path.read_bytes()).shape == (40, 30, 3)
    # Everything is asked for again, also what has its result already.
    done = run(folder, "crop", "in", "-o", "out", *HALF, settings=settings(server, customer))
    assert done.returncode == 0, done.stderr
    assert len(list(out.glob("[!.]*"))) == pictures
    wait_until(lambda: server.balance(customer)[1] == 0)
    assert server.balance(customer) == (credits - pictures, 0)


def test_a_killed_run_that_is_run_again_pays_once_for_each_picture(
    server: RunningServer, tmp_path: Path
) -> None:
    killed_and_run_again(server, tmp_path, pictures=12, done_before=3)


@pytest.mark.long
def test_two_hundred_pictures_killed_in_the_middle_cost_two_hundred_credits(
    server: RunningServer, tmp_path: Path
) -> None:
    killed_and_run_again(server, tmp_path, pictures=200, done_before=90)


def test_lost_answers_are_asked_for_again_and_paid_once(server: RunningServer, tmp_path: Path) -> None:
    customer = server.new_customer(credits=4)
    make_pictures(tmp_path / "in", 4)
    with cutting(server.address, cuts=2) as proxy:
        keys = {"BGERASER_URL": proxy.address, "BGERASER_KEY": customer.key}
        done = run(tmp_path, "crop", "in", "-o", "out", *HALF, settings=keys)
    assert (done.returncode, proxy.cuts) == (0, 2), done.stderr
    assert len(tree(tmp_path / "out")) == 4
    assert server.balance(customer) == (0, 0)


def test_copies_of_a_picture_are_paid_once(server: RunningServer, tmp_path: Path) -> None:
    customer = server.new_customer(credits=1)
    make_pictures(tmp_path / "in", 1)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "in" / name).write_bytes((tmp_path / "in/p000.jpg").read_bytes())
    done = run(tmp_path, "crop", "in", "-o", "out", *HALF, settings=settings(server, customer))
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "out") == ["a.jpg", "b.jpg", "c.jpg", "p000.jpg"]
    assert server.balance(customer) == (0, 0)


def test_the_rate_of_the_plan_is_obeyed(server: RunningServer, tmp_path: Path) -> None:
    """The free plan allows 20 calls at once, and then one in three seconds."""
    customer = server.new_customer(credits=22)
    make_pictures(tmp_path / "in", 22)
    done = run(tmp_path, "crop", "in", "-o", "out", *HALF, settings=settings(server, customer))
    assert done.returncode == 0, done.stderr
    assert len(tree(tmp_path / "out")) == 22
    assert server.balance(customer) == (0, 0)
    with server.client(customer) as client:
        calls = client.get("/api/usage").json()["data"]
    assert sum(day["credits"] for day in calls) == 22


def test_no_credits_left_ends_the_run_with_one_line(server: RunningServer, tmp_path: Path) -> None:
    customer = server.new_customer(credits=7)
    ours = settings(server, customer)
    make_pictures(tmp_path / "in", 24)
    done = run(tmp_path, "crop", "in", "-o", "out", *HALF, settings=ours)
    assert done.returncode == 1
    note, stopped, summary = done.stderr.decode().splitlines()
    assert note == "Credits: 7 for up to 24 pictures."
    assert stopped.startswith("bgeraser run: No credits are left. (INSUFFICIENT_CREDITS)")
    assert summary.startswith("7 done in ")
    assert summary.endswith(", 7 credits")
    assert server.balance(customer) == (0, 0)
    assert len(tree(tmp_path / "out")) == 7  # everything that was paid


def test_a_run_that_is_stopping_sends_no_further_calls(server: RunningServer) -> None:
    customer = server.new_customer(credits=1)

    async def work() -> None:
        runner = ApiRunner(server.address, customer.key, parameters.parse("crop", []))
        try:
            await runner.open(1)
            runner.start_no_more()
            await runner.run(small_picture(1))
        finally:
            await runner.close()

    with pytest.raises(RunStopped):
        asyncio.run(work())
    assert server.balance(customer) == (1, 0)


@pytest.mark.parametrize(
    ("address", "key", "expected"),
    [
        (None, "bge_live_wrong", "(INVALID_API_KEY)"),
        (None, "bge_live_\u00fc", "The API key is not valid."),
        ("{server}/nowhere", None, "There is nothing at this address. (NOT_FOUND)"),
        ("{server}/?", None, "is not the address of a server"),
        ("ftp://127.0.0.1", None, "is not the address of a server"),
        ("http://", None, "is not the address of a server"),
        ("http://127.0.0.1:99999", None, "is not the address of a server"),
        ("http://user:pass@127.0.0.1", None, "is not the address of a server"),
    ],
)
def test_a_wrong_address_or_key_stops_the_run_before_any_work(
    server: RunningServer, tmp_path: Path, address: str | None, key: str | None, expected: str
) -> None:
    customer = server.new_customer()
    url = (address or server.address).replace("{server}", server.address)

    async def work() -> None:
        runner = ApiRunner(url, key or customer.key, parameters.parse("crop", []))
        try:
            await runner.open(None)
        finally:
            await runner.close()

    with pytest.raises(RunStopped) as stopped:
        asyncio.run(work())
    assert expected in str(stopped.value)
    assert customer.key not in str(stopped.value)


def test_a_full_storage_is_freed_of_results_that_were_downloaded(server: RunningServer) -> None:
    customer = server.new_customer(credits=3)

    async def work() -> list[Result]:
        runner = ApiRunner(server.address, customer.key, parameters.parse("crop", []))
        try:
            await runner.open(1)
            first = await runner.run(small_picture(1))
            with server.database.transaction() as session:
                stored = session.exec(select(Image).where(Image.account_id == customer.account_id)).one()
                stored.size_bytes = 2 * 1024**3  # as many results would
                session.add(stored)
            return [first, await runner.run(small_picture(2))]
        finally:
            await runner.close()

    first, second = asyncio.run(work())
    assert first.content != second.content
    with server.database.transaction() as session:
        (left,) = session.exec(select(Image).where(Image.account_id == customer.account_id)).all()
        assert left.id == second.data["imageId"]
    assert server.balance(customer) == (1, 0)
