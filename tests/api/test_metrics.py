"""`/metrics` needs its token; the dashboard and the alerts that are shipped use what it has."""

import json
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.support.apps import local_api
from tests.support.calling import code_of, small_picture
from tests.support.checkpoints import models_dir
from tests.support.ml.photos import jpeg_bytes, photo


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


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The metrics after a call that succeeded and one that was refused."""
    with local_api(
        tmp_path_factory.mktemp("metrics"), has_workers=True, metrics_token=SecretStr("figures")
    ) as api:
        headers = {"X-Api-Key": api.new_key("a@example.com")}
        for width in ("5", "-5"):
            api.request(
                "POST",
                "/api/tools/crop",
                headers=headers,
                files={"image": small_picture()},
                data={"width": width},
            )
        return api.request("GET", "/metrics", headers={"Authorization": "Bearer figures"}).text


def value(figures: str, series: str) -> float:
    (line,) = [line for line in figures.splitlines() if line.startswith(f"{series} ")]
    return float(line.rpartition(" ")[2])


def test_calls_credits_and_times_are_counted(figures: str) -> None:
    assert value(figures, 'bgeraser_calls_total{plan="free",status="200",tool="crop"}') == 1
    assert value(figures, 'bgeraser_calls_total{plan="free",status="422",tool="crop"}') == 1
    assert value(figures, 'bgeraser_credits_charged_total{plan="free"}') == 1
    assert value(figures, 'bgeraser_call_wait_seconds_count{priority="free"}') == 1
    stages = [
        value(figures, f'bgeraser_call_stage_seconds_sum{{stage="{stage}",tool="crop"}}')
        for stage in ("decode", "run", "encode")
    ]
    assert all(seconds > 0 for seconds in stages)
    assert value(figures, 'bgeraser_database_seconds_count{kind="write"}') >= 2
    assert value(figures, 'bgeraser_worker_memory_bytes{worker="0"}') > 1e7


def test_memory_is_told_by_engine(tmp_path: Path) -> None:
    token = SecretStr("figures")
    with local_api(tmp_path, has_workers=True, models_dir=models_dir(), metrics_token=token) as api:
        headers = {"X-Api-Key": api.new_key("a@example.com")}
        cut = {"image": jpeg_bytes(photo("coffee")[::2, ::2])}
        assert api.request("POST", "/api/tools/bg-removal", headers=headers, files=cut).status_code == 200
        text = api.request("GET", "/metrics", headers={"Authorization": "Bearer figures"}).text
    (series,) = re.findall(
        r'bgeraser_engine_memory_bytes\{engine="isnet-general-use",worker="\d"\} (.*)', text
    )
    assert float(series) > 1e8


def test_buckets_are_cumulative_and_end_with_the_count(figures: str) -> None:
    series = re.findall(r'bgeraser_call_wait_seconds_bucket{le="(.*?)",priority="free"} (.*)', figures)
    counts = [float(count) for _, count in series]
    assert series[-1][0] == "+Inf"
    assert counts == sorted(counts)
    assert counts[-1] == 1


@pytest.mark.parametrize("file", ["grafana/bgeraser.json", "prometheus/alerts.yml"])
def test_the_dashboard_and_the_alerts_use_existing_metrics(figures: str, file: str) -> None:
    text = (Path(__file__).parents[2] / "deploy" / file).read_text()
    if file.endswith(".json"):
        json.loads(text)
    used = set(re.findall(r"bgeraser_[a-z_]+", text))
    defined = set(re.findall(r"^# TYPE (bgeraser_[a-z_]+) ", figures, re.MULTILINE))
    served = defined | {f"{name}_{part}" for name in defined for part in ("bucket", "sum", "count")}
    assert used
    assert used - served == set()
