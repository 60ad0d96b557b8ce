"""Lock files, floors of versions, the list of packages in the images, and exemptions from the lint rules."""

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EVERYTHING = "requirements-dev.lock"
#: The extras whose dependencies each lock file has, besides those of the project.
EXTRAS = {
    "requirements.lock": ("telemetry",),
    "requirements-cluster.lock": ("telemetry", "cluster"),
    "requirements-generative.lock": ("telemetry", "cluster", "generative"),
    EVERYTHING: ("telemetry", "cluster", "generative", "onnxruntime", "rembg", "dev"),
}
LOCKS = (*EXTRAS, "requirements-sbom.lock")

#: Versions below which something is known to be wrong that matters here, and what.
FLOORS = {
    "aiohttp": ("3.13.3", "Ray's dashboard: compressed bodies of any size (CVE-2025-69223)"),
    "authlib": (
        "1.9.0",
        "state, nonce and PKCE of sign-ins; unsigned ID tokens before 1.6.7 (CVE-2026-28802)",
    ),
    "brotli": ("1.2.0", "decompression without a limit (CVE-2025-6176)"),
    "filelock": ("3.20.3", "locks that follow another user's link (CVE-2025-68146, CVE-2026-22701)"),
    "gradio": ("6.20", "files of the server by a crafted path (CVE-2026-28414), redirects, stolen tokens"),
    "h11": ("0.16.0", "two readings of chunked bodies, so that requests are smuggled (CVE-2025-43859)"),
    "idna": ("3.7", "long host names take quadratic time (CVE-2024-3651)"),
    "jinja2": ("3.1.6", "a filter that leaves the sandbox (CVE-2025-27516)"),
    "orjson": ("3.11.6", "deeply nested JSON ends the process (CVE-2025-67221)"),
    "pillow": (
        "12.3",
        "reads and writes out of bounds, and bombs, in several formats (PYSEC-2026-2253 and others)",
    ),
    "protobuf": ("6.31.1", "deeply nested messages (CVE-2025-4565)"),
    "pyasn1": ("0.6.4", "small certificates that take seconds (CVE-2026-59885)"),
    "pyjwt": ("2.12.0", "critical headers of tokens were ignored (CVE-2026-32597)"),
    "python-multipart": ("0.0.34", "forms that take quadratic time, and white space after boundaries"),
    "ray": ("2.52", "no token authentication before: whoever reached a port ran code"),
    "requests": ("2.32.4", "passwords of .netrc sent to another host (CVE-2024-47081)"),
    "setuptools": ("78.1.1", "writes outside of its folder (CVE-2025-47273); builds the project"),
    "starlette": (
        "1.3.1",
        "limits of forms that were ignored (CVE-2026-54283), paths taken from Host (CVE-2026-48710)",
    ),
    "torch": ("2.6", "weights_only=True ran code (CVE-2025-32434)"),
    "urllib3": ("2.7.0", "the limits of decompression could be passed by (CVE-2026-44432)"),
}


def _locked(name: str) -> dict[str, tuple[set[str], list[str]]]:
    """The versions and hashes of each package. Fails for a line that is not one version with hashes."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found: dict[str, tuple[set[str], list[str]]] = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        stated, *hashes = line.split("--hash=")
        requirement = Requirement(stated.strip())
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        assert "*" not in pin.version, line
        assert not requirement.url, line
        assert hashes, f"{requirement.name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in hashes), line
        versions, known = found.setdefault(canonicalize_name(requirement.name), (set(), []))
        versions.add(pin.version)
        known.extend(hashes)
    return found


def _direct(name: str) -> list[Requirement]:
    """What pyproject.toml asks for directly in an environment that this lock file makes."""
    optional = PROJECT["project"]["optional-dependencies"]
    lists = [PROJECT["project"]["dependencies"], PROJECT["build-system"]["requires"]]
    lists += [optional[extra] for extra in EXTRAS[name]]
    found = [Requirement(text) for texts in lists for text in texts]
    return [each for each in found if each.name != PROJECT["project"]["name"]]


# Lock files


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_one_version_with_its_hashes_and_names_no_index(name: str) -> None:
    assert len(_locked(name)) > 20
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.findall(r"^\s*-(?!-hash=)\S+", text, flags=re.MULTILINE)


@pytest.mark.parametrize("name", EXTRAS)
def test_every_direct_dependency_is_locked_within_its_range(name: str) -> None:
    locked = _locked(name)
    for requirement in _direct(name):
        versions, _ = locked.get(canonicalize_name(requirement.name), (set(), []))
        assert versions, f"{requirement.name} is not in {name}: run make lock"
        outside = [version for version in versions if version not in requirement.specifier]
        assert not outside, f"{requirement} excludes {outside} of {name}: run make lock"


@pytest.mark.parametrize("name", [name for name in LOCKS if name != EVERYTHING])
def test_the_smaller_lock_files_have_the_versions_that_are_tested(name: str) -> None:
    tested = _locked(EVERYTHING)
    for package, (versions, _) in _locked(name).items():
        assert versions <= tested[package][0], package


def test_the_first_start_installs_neither_torch_nor_ray() -> None:
    locked = set(_locked("requirements.lock"))
    assert not locked & {"torch", "torchvision", "ray", "onnxruntime", "diffusers"}
    assert not [package for package in locked if package.startswith("nvidia-")]


def test_the_makefile_and_the_image_install_by_hashes_only() -> None:
    for file in ("Makefile", "Dockerfile"):
        text = (ROOT / file).read_text()
        installs = re.findall(r"(?:\$\(INSTALL\)|pip install)((?: +[^\s&|]+)*)", text.replace("\\\n", " "))
        commands = [each for each in installs if each.strip() and "--quiet" not in each]
        assert len(commands) >= 4, file
        for options in commands:
            assert "--require-hashes" in options or "--no-deps --no-build-isolation" in options, (
                file,
                options,
            )
        for name in re.findall(r"requirements[\w-]*\.lock", text):
            assert (ROOT / name).is_file()


def test_this_environment_has_the_locked_versions() -> None:
    tested = _locked(EVERYTHING)
    installed = {canonicalize_name(each.name): each.version for each in metadata.distributions()}
    differing = {
        name: version
        for name, version in installed.items()
        if name in tested and version not in tested[name][0]
    }
    # Local builds, such as 2.9+cpu, are of the version before the plus sign.
    differing = {
        name: version for name, version in differing.items() if version.split("+")[0] not in tested[name][0]
    }
    assert not differing, "make installs what the lock file names"


# Floors


@pytest.mark.parametrize("name", FLOORS)
def test_versions_are_at_or_above_their_floor(name: str) -> None:
    floor, reason = FLOORS[name]
    versions = {version for lock in EXTRAS for version in _locked(lock).get(name, (set(), []))[0]}
    assert versions, f"{name} is not a dependency any more"
    versions.add(metadata.version(name))
    assert all(Version(version) >= Version(floor) for version in versions), reason


def test_starlette_limits_bodies() -> None:
    from starlette.middleware.body_limit import RequestBodyLimitMiddleware

    assert callable(RequestBodyLimitMiddleware)


# The list of packages in the images


def test_the_dockerfile_lists_the_packages_of_every_image(tmp_path: Path) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    steps = re.findall(r"&& (/opt/sbom/bin/cyclonedx-py .*)$", dockerfile, flags=re.MULTILINE)
    assert len(steps) == 3
    assert len({" ".join(step.split()) for step in steps}) == 1
    target = tmp_path / "sbom.cdx.json"
    command = [
        {"/opt/sbom/bin/cyclonedx-py": "-m cyclonedx_py", "/opt/bgeraser/sbom.cdx.json": str(target)}.get(
            word, word
        )
        for word in steps[0].split()
    ]
    assert command.pop() == "/opt/bgeraser/bin/python"
    # It validates the document against CycloneDX's schema before it writes it.
    subprocess.run(
        [sys.executable, *command[0].split(), *command[1:], sys.executable], cwd=ROOT, check=True, timeout=240
    )
    document = json.loads(target.read_text())
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "bgeraser"
    listed = {canonicalize_name(each["name"]): each["version"] for each in document["components"]}
    for requirement in _direct("requirements.lock"):
        name = canonicalize_name(requirement.name)
        assert listed[name] == metadata.version(name)


# Exemptions from the lint rules


def test_the_security_rules_are_on() -> None:
    lint = PROJECT["tool"]["ruff"]["lint"]
    assert "S" in lint["select"]
    assert [rule for rule in lint["ignore"] if rule.startswith("S")] == ["S101"]
    exempt = [
        files for files, rules in lint["per-file-ignores"].items() if any(r.startswith("S") for r in rules)
    ]
    assert all(files.startswith("tests/") for files in exempt)


def test_every_exemption_says_why() -> None:
    bare = []
    for folder in ("web", "api", "ml", "billing"):
        for path in (ROOT / folder).rglob("*.py"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                comment = re.search(r"#\s*noqa\b(.*)$", line)
                if comment and not re.match(r": [A-Z]+\d+(?:, ?[A-Z]+\d+)*\s*(?:[-#(]|\s)\s*\w", comment[1]):
                    bare.append(f"{path.relative_to(ROOT)}:{number}")
    assert not bare
