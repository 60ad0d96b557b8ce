"""The state that Gradio keeps for open pages is bounded and belongs to one visitor."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.auth import api_keys
from tests.support.apps import local_api
from tests.support.gradio_site import JOIN, Site
from web.gradio import sessions


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with local_api(tmp_path) as api:
        yield Site(api)


def kept(site: Site) -> list[set[str]]:
    """The pages of which Gradio keeps state, messages, and unfinished events."""
    return [
        set(site.gradio.state_holder.session_data),
        set(site.queue.pending_messages_per_session),
        set(site.queue.pending_event_ids_session),
    ]


def test_the_most_recent_pages_of_an_account_are_kept(site: Site) -> None:
    visitor, other = site.new_visitor(), site.new_visitor()
    assert other.join("other") == 200
    pages = [f"page{number}" for number in range(sessions.PAGES_PER_ACCOUNT_MAX + 3)]
    for page in pages:
        assert visitor.join(page) == 200
    last = {*pages[3:], "other"}
    assert kept(site) == [last, last, last]
    assert {event.session_hash for event in site.queue.event_ids_to_events.values()} == last
    assert visitor.get(f"queue/data?session_hash={pages[0]}").status_code == 404
    assert visitor.get(f"heartbeat/{pages[0]}").status_code == 404


def test_browsers_of_an_account_share_one_limit(site: Site) -> None:
    first = site.new_visitor()
    for number in range(2 * sessions.PAGES_PER_ACCOUNT_MAX):
        assert site.new_visitor(first.account_id).join(f"page{number}") == 200
    assert [len(pages) for pages in kept(site)] == [sessions.PAGES_PER_ACCOUNT_MAX] * 3


def test_the_total_number_of_pages_is_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "PAGES_MAX", 20)
    for number in range(60):
        assert site.new_visitor().join(f"page{number}") == 200
    last = {f"page{number}" for number in range(40, 60)}
    assert kept(site) == [last, last, last]


def test_unfetched_results_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = site.new_visitor()
    for _ in range(sessions.PENDING_PER_PAGE_MAX):
        assert visitor.join("page") == 200
    assert visitor.join("page") == 429
    monkeypatch.setattr(sessions, "PENDING_MAX", sessions.PENDING_PER_PAGE_MAX + 2)
    other = site.new_visitor()
    assert [other.join("other") for _ in range(4)] == [200] * 4
    # Only the visitor who fetched nothing has lost something.
    assert kept(site)[2] == {"other"}
    assert len(site.queue) == 4


def test_events_of_an_account_are_rate_limited(site: Site) -> None:
    visitor, other = site.new_visitor(), site.new_visitor()
    statuses = [visitor.join(f"page{number}") for number in range(2 * sessions.EVENTS_PER_MINUTE)]
    assert statuses[: sessions.EVENTS_PER_MINUTE] == [200] * sessions.EVENTS_PER_MINUTE
    assert 429 in statuses
    assert other.join("other") == 200


def test_a_page_belongs_to_the_browser_that_opened_it(site: Site) -> None:
    visitor = site.new_visitor()
    assert visitor.join("page") == 200
    for stranger in (site.new_visitor(), site.new_visitor(visitor.account_id)):
        assert stranger.join("page") == 404
        assert stranger.get("queue/data?session_hash=page").status_code == 404
        assert stranger.get("heartbeat/page").status_code == 404
    assert len(site.queue) == 1


def test_a_refused_event_leaves_no_state(site: Site) -> None:
    visitor = site.new_visitor()
    for fields in ({"fn_index": 999}, {"data": [{"path": "/dev/zero"}]}, {"trigger_id": 999}):
        event = {"data": [], "fn_index": site.fill._id, "trigger_id": 0, "session_hash": "page"} | fields
        answer = site.request("POST", JOIN, visitor.token, json=event)
        assert answer.status_code == 422
    assert kept(site) == [set(), set(), set()]


@pytest.mark.parametrize(
    "query",
    ["", "session_hash=", "session_hash=..%2f", "session_hash=a&session_hash=b", "session_hash=" + "a" * 900],
)
def test_a_stream_is_bound_to_one_page(site: Site, query: str) -> None:
    answer = site.new_visitor().get(f"queue/data?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "session_hash")


def test_pages_contain_the_public_url_whatever_the_host_header(tmp_path: Path) -> None:
    with local_api(tmp_path, public_url="https://pictures.example.com") as api:
        Site(api)
        assert api.request("GET", "/app/", headers={"Host": "[::1"}).status_code == 400
        for headers in ({}, {"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example"}):
            answer = api.request("GET", "/app/", headers=headers)
            assert answer.status_code == 200
            assert '"root":"https://pictures.example.com/app"' in answer.text
            assert "evil.example" not in answer.text


def test_a_page_keeps_only_the_components_of_its_last_render(site: Site) -> None:
    visitor = site.new_visitor()
    with site.services.database.transaction() as session:
        for number in range(20):
            api_keys.create(session, visitor.account_id, f"key {number}", site.services.clock())
    sizes = []
    for _ in range(4):
        for name in ("list_keys", "apply"):
            assert visitor.join("page", name) == 200
            site.work_through()
        assert visitor.join("page") == 200  # any event drops what was drawn before
        sizes.append(len(site.gradio.state_holder.session_data["page"].blocks_config.blocks))
        site.work_through()
    assert sizes[0] > 100
    assert sizes[1:] == sizes[:-1]


def test_an_idle_queue_is_looked_at_rarely(site: Site) -> None:
    """By default Gradio looks a thousand times a second, and a hundred times for progress."""
    assert site.queue.sleep_when_free >= 0.02
    assert site.queue.progress_update_sleep_when_free >= 0.5
