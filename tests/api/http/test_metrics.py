"""`/metrics` needs its token."""

from pathlib import Path

from pydantic import SecretStr

from tests.support.apps import local_api
from tests.support.calling import code_of


def test_metrics_are_404_when_no_token_is_configured(tmp_path: Path) -> None:
    with local_api(tmp_path) as api:
        for headers in ({}, {"Authorization": "Bearer None"}, {"Authorization": "Bearer "}):
            answer = api.request("GET", "/metrics", headers=headers)
            assert (answer.status_code, code_of(answer)) == (404, "NOT_FOUND")


def test_a_blank_token_counts_as_none(tmp_path: Path) -> None:
    with local_api(tmp_path, metrics_token=SecretStr(" ")) as api:
        answer = api.request("GET", "/metrics", headers={"Authorization": "Bearer  "})
        assert (answer.status_code, code_of(answer)) == (404, "NOT_FOUND")


def test_metrics_are_served_in_prometheus_format_with_the_token(tmp_path: Path) -> None:
    with local_api(tmp_path, metrics_token=SecretStr("figures")) as api:
        assert code_of(api.request("GET", "/metrics")) == "INVALID_API_KEY"
        assert code_of(api.request("GET", "/metrics", headers={"Authorization": "Bearer figure"})) == (
            "INVALID_API_KEY"
        )
        for _ in range(3):
            api.request("GET", "/api/images/img_aaaaaaaaaaaa")
        answer = api.request("GET", "/metrics", headers={"Authorization": "Bearer figures"})
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    counted = 'bgeraser_requests_total{method="GET",route="/api/images/{image_id}",status="403"} 3.0'
    assert counted in lines
    assert "bgeraser_calls_queued 0.0" in lines


def test_unknown_paths_create_no_new_series(tmp_path: Path) -> None:
    with local_api(tmp_path, metrics_token=SecretStr("figures")) as api:
        for number in range(50):
            api.request("GET", f"/api/nothing/{number}")
        text = api.request("GET", "/metrics", headers={"Authorization": "Bearer figures"}).text
    assert 'route="none",status="404"} 50.0' in text
    assert "nothing" not in text
