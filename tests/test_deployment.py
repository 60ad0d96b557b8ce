"""The files in deploy/ and the Dockerfile agree with each other and with the settings."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import Settings
from web.cli import serving

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_FILES = ("compose.yaml", "compose.ray.yaml")

Document = dict[str, Any]


def _documents(path: Path) -> list[Document]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def _settings_in(tree: Any) -> set[str]:
    """The settings that a document names anywhere, also within values."""
    return set(re.findall(r"\bBGERASER_[A-Z_]+\b", yaml.safe_dump(tree)))


def _merged(below: Any, above: Any) -> Any:
    """As Compose and strategic merge patches do for mappings."""
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return {key: _merged(below.get(key), above.get(key, below.get(key))) for key in {**below, **above}}
    return above


# Every file


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: path.name)
def test_the_settings_exist(path: Path) -> None:
    known = {f"BGERASER_{name.upper()}" for name in Settings.model_fields}
    assert _settings_in(_documents(path)) <= known


# Compose


def _compose(*files: str) -> Document:
    merged: Document = {}
    for name in files:
        (document,) = _documents(DEPLOY / name)
        merged = _merged(merged, document)
    return merged


@pytest.fixture(params=[COMPOSE_FILES[:1], COMPOSE_FILES], ids=["servers", "ray"])
def services(request: pytest.FixtureRequest) -> dict[str, Document]:
    found: dict[str, Document] = _compose(*request.param)["services"]
    return found


def _ours(services: dict[str, Document]) -> dict[str, Document]:
    return {name: service for name, service in services.items() if "build" in service}


def test_containers_of_this_image_have_no_privileges(services: dict[str, Document]) -> None:
    for name, service in _ours(services).items():
        assert service["read_only"], name
        assert service["user"] == "10001:10001", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["tmpfs"] == ["/tmp"], name


def test_only_the_proxy_can_be_reached_from_outside(services: dict[str, Document]) -> None:
    assert [name for name, service in services.items() if "ports" in service] == ["caddy"]
    assert all(service.get("network_mode") is None for service in services.values())


def test_services_depend_on_services_with_a_state_that_they_have(services: dict[str, Document]) -> None:
    for name, service in services.items():
        needed = service.get("depends_on") or {}
        assert set(needed) <= set(services), name
        for other, condition in needed.items() if isinstance(needed, Mapping) else ():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[other], (name, other)
            if condition["condition"] == "service_completed_successfully":
                assert services[other]["restart"] == "no", (name, other)


def test_named_volumes_are_declared(services: dict[str, Document]) -> None:
    declared = set(_compose(*COMPOSE_FILES)["volumes"])
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in declared or source.startswith((".", "/")), name


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_variables_are_in_the_example(name: str) -> None:
    (document,) = _documents(DEPLOY / name)
    example = (DEPLOY / "compose.env.example").read_text()
    listed = set(re.findall(r"^#?([A-Z_]+)=", example, flags=re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+)", yaml.safe_dump(document, width=10**6))) <= listed


def test_processes_of_the_cluster_have_one_image_and_the_token() -> None:
    services = _compose(*COMPOSE_FILES)["services"]
    members = {name: services[name] for name in ("ray-head", "ray-node", "server-1", "server-2", "worker")}
    assert {(service["image"], service["build"]["target"]) for service in members.values()} == {
        ("bgeraser:cluster", "cluster")
    }
    for name, service in members.items():
        assert service["environment"]["RAY_AUTH_MODE"] == "token", name
        assert service["environment"]["RAY_AUTH_TOKEN"].startswith("${RAY_TOKEN:?"), name
        assert service["init"], name  # Ray's processes are children of the first one
        assert service["shm_size"], name


def test_servers_and_the_worker_join_the_cluster_without_cpus_and_keep_their_command() -> None:
    plain, ray = (_compose(*files)["services"] for files in (COMPOSE_FILES[:1], COMPOSE_FILES))
    for name in ("server-1", "server-2", "worker"):
        shell, option, line = ray[name]["command"]
        assert (shell, option) == ("sh", "-c")
        join, _, serve = line.partition(" && exec ")
        assert {"--num-cpus=0", "--num-gpus=0"} < set(join.split())
        assert serve.split() == plain[name]["command"]
        assert ray[name]["environment"]["BGERASER_RAY_ADDRESS"] == "ray-head:6379"
        assert ray[name]["environment"]["BGERASER_SECRET_KEY"]
    assert "--port=6379" in ray["ray-head"]["command"]
    assert "--num-cpus=0" in ray["ray-head"]["command"]
    assert "--address=ray-head:6379" in ray["ray-node"]["command"]


def test_replicas_find_checkpoints_and_cache_where_servers_say() -> None:
    services = _compose(*COMPOSE_FILES)["services"]
    node, server = services["ray-node"], services["server-1"]
    assert node["environment"]["BGERASER_MODELS_DIR"] == server["environment"]["BGERASER_MODELS_DIR"]
    assert {volume.split(":")[-1] for volume in node["volumes"]} == {"/checkpoints", "/data"}


# The image


def test_targets_named_in_compose_are_stages() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE))
    targets = {
        service["build"].get("target")
        for service in _ours(_compose(*COMPOSE_FILES)["services"]).values()
        if "target" in service["build"]
    }
    assert targets <= stages
    assert "AS" not in [line for line in DOCKERFILE.splitlines() if line.startswith("FROM")][-1]


def test_the_images_have_one_python() -> None:
    bases = set(re.findall(r"^FROM (python:\S+)", DOCKERFILE, flags=re.MULTILINE))
    assert len(bases) == 1
    (version,) = {match[1] for match in map(re.compile(r"python:(\d+\.\d+)").match, bases) if match}
    assert set(re.findall(r"lib/python(\d+\.\d+)", DOCKERFILE)) == {version}


def test_the_files_that_the_image_copies_exist() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert {"pyproject.toml", "web", "api", "ml", "billing"} <= set(sources)
    assert all((ROOT / source).exists() for source in sources)


# Kubernetes


def _objects(folder: str) -> list[Document]:
    """The objects of a folder, without kustomize's own files and patches."""
    listed = _documents(DEPLOY / "kubernetes" / folder / "kustomization.yaml")[0]["resources"]
    paths = [DEPLOY / "kubernetes" / folder / name for name in listed if name.endswith(".yaml")]
    return [document for path in paths for document in _documents(path)]


def _find(kind: str, name: str = "bgeraser") -> Document:
    everything = [*_objects("base"), *_objects("ray"), *_secrets()]
    (found,) = (each for each in everything if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def _secrets() -> list[Document]:
    return _documents(DEPLOY / "kubernetes/base/secret.example.yaml")


def _patch(name: str) -> Document:
    (found,) = _documents(DEPLOY / f"kubernetes/ray/{name}.yaml")
    return found


def _gpu_group() -> Document:
    ((operation,),) = yaml.safe_load_all((DEPLOY / "kubernetes/ray/gpu-group.yaml").read_text())
    assert (operation["op"], operation["path"]) == ("add", "/spec/workerGroupSpecs/-")
    group: Document = operation["value"]
    return group


def _pods() -> dict[str, Document]:
    """The specifications of all pods, by a name for messages."""
    cluster = _find("RayCluster")["spec"]
    groups = [*cluster["workerGroupSpecs"], _gpu_group()]
    return {
        **{
            f"{each['kind']} {each['metadata']['name']}": each["spec"]["template"]["spec"]
            for each in _objects("base")
            if each["kind"] in ("Deployment", "Job")
        },
        "head": cluster["headGroupSpec"]["template"]["spec"],
        **{group["groupName"]: group["template"]["spec"] for group in groups},
    }


def _container(pod: Document) -> Document:
    (container,) = pod["containers"]
    found: Document = container
    return found


def test_every_manifest_is_applied_or_an_example() -> None:
    for folder in ("base", "ray"):
        (kustomization,) = _documents(DEPLOY / "kubernetes" / folder / "kustomization.yaml")
        patches = {patch["path"] for patch in kustomization.get("patches", ()) if "path" in patch}
        used = {name for name in kustomization["resources"] if name.endswith(".yaml")} | patches
        optional = {"kustomization.yaml", "secret.example.yaml", "gpu-group.yaml"}
        there = {path.name for path in (DEPLOY / "kubernetes" / folder).glob("*.yaml")}
        assert there == used | (there & optional)


def test_pods_have_no_privileges_and_write_into_volumes_only() -> None:
    for name, pod in _pods().items():
        context = pod["securityContext"]
        assert context["runAsNonRoot"], name
        assert context["runAsUser"] == context["fsGroup"] == 10001, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert _container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        mounted = {mount["name"]: mount["mountPath"] for mount in _container(pod)["volumeMounts"]}
        assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}, name
        assert "/tmp" in mounted.values(), name
        # Else Services named bgeraser become variables that look like settings.
        assert pod["enableServiceLinks"] is False, name


def test_volume_claims_exist() -> None:
    for pod in _pods().values():
        for volume in pod["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                _find("PersistentVolumeClaim", claim["claimName"])


def test_replicas_and_servers_mount_the_folders_that_the_settings_name() -> None:
    data = _find("ConfigMap")["data"]
    for name, pod in _pods().items():
        if name != "head":  # it runs no tool
            paths = {mount["mountPath"] for mount in _container(pod)["volumeMounts"]}
            assert {data["BGERASER_DATA_DIR"], data["BGERASER_MODELS_DIR"]} <= paths, name


@pytest.mark.parametrize("folders", [("base",), ("base", "ray")], ids=["servers", "ray"])
def test_servers_accept_the_settings(folders: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    values = dict(_find("ConfigMap")["data"])
    for secret in _secrets():
        values |= secret["stringData"]
    if "ray" in folders:
        values |= _patch("settings")["data"]
    values |= {"BGERASER_SECRET_KEY": "x" * 64}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    settings.refuse_unsafe_address("0.0.0.0")
    assert settings.ml_backend == ("ray" if "ray" in folders else "local")


def test_pods_refer_to_settings_and_secrets_that_exist() -> None:
    for pod in _pods().values():
        for source in _container(pod).get("envFrom", ()):
            for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if key in source:
                    _find(kind, source[key]["name"])
    for name in ("servers", "worker"):
        (variable,) = _container(_patch(name)["spec"]["template"]["spec"])["env"]
        reference = variable["valueFrom"]["secretKeyRef"]
        assert reference["key"] in _find("Secret", reference["name"])["stringData"]


def test_services_budgets_and_scalers_find_their_pods() -> None:
    servers = _find("Deployment")
    labels = servers["spec"]["template"]["metadata"]["labels"].items()
    assert servers["spec"]["selector"]["matchLabels"].items() <= labels
    service = _find("Service")["spec"]
    assert service["selector"].items() <= labels
    assert _find("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= labels
    assert _find("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == servers["metadata"]["name"]
    ports = {port["name"] for port in _container(_pods()["Deployment bgeraser"])["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports
    (rule,) = _find("Ingress")["spec"]["rules"]
    for path in rule["http"]["paths"]:
        backend = path["backend"]["service"]
        assert backend["name"] == "bgeraser"
        assert backend["port"]["name"] in {port["name"] for port in service["ports"]}
    assert _find("ConfigMap")["data"]["BGERASER_PUBLIC_URL"] == f"https://{rule['host']}"
    # Workers are not servers.
    worker = _find("Deployment", "bgeraser-worker")["spec"]["template"]["metadata"]["labels"]
    assert not service["selector"].items() <= worker.items()


@pytest.mark.parametrize("name", ["bgeraser", "bgeraser-worker"])
def test_probes_ask_the_port_of_the_command_and_pods_end_later_than_their_calls(name: str) -> None:
    pod = _pods()[f"Deployment {name}"]
    container = _container(pod)
    (port,) = container["ports"]
    assert container["command"][-1] == str(port["containerPort"])
    for probe, path in (("startup", "/healthz"), ("readiness", "/readyz"), ("liveness", "/healthz")):
        assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": port["name"]}
    data = _find("ConfigMap")["data"]
    drain, shutdown = (float(data[f"BGERASER_{each}_SECONDS"]) for each in ("DRAIN", "SHUTDOWN"))
    readiness = container["readinessProbe"]
    assert drain > readiness["periodSeconds"] * readiness["failureThreshold"] + readiness["timeoutSeconds"]
    assert pod["terminationGracePeriodSeconds"] > drain + shutdown + serving._RESPONSE_GRACE_SECONDS


def test_on_a_cluster_servers_run_the_same_command_after_joining_it() -> None:
    for name, deployment in (("servers", "bgeraser"), ("worker", "bgeraser-worker")):
        patch = _patch(name)
        assert patch["metadata"]["name"] == deployment
        plain = _container(_pods()[f"Deployment {deployment}"])
        changed = _container(patch["spec"]["template"]["spec"])
        assert changed["name"] == plain["name"]
        shell, option, line = changed["command"]
        assert (shell, option) == ("sh", "-c")
        join, _, serve = line.partition(" && exec ")
        assert {"--num-cpus=0", "--num-gpus=0"} < set(join.split())
        assert serve.split() == plain["command"]
        volumes = {volume["name"] for volume in patch["spec"]["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in changed["volumeMounts"]} == volumes


def test_the_ray_cluster_is_the_one_that_servers_join() -> None:
    cluster = _find("RayCluster")
    data = _patch("settings")["data"]
    # The name of the Service is KubeRay's.
    assert data["BGERASER_RAY_ADDRESS"] == f"{cluster['metadata']['name']}-head-svc:6379"
    options = cluster["spec"]["authOptions"]
    assert (options["mode"], data["RAY_AUTH_MODE"]) == ("token", "token")
    # The key, too.
    assert "auth_token" in _find("Secret", options["secretName"])["stringData"]
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in cluster["spec"]["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    (nodes, servers) = (_find("NetworkPolicy", f"bgeraser-ray-{each}") for each in ("nodes", "servers"))
    assert nodes["spec"]["podSelector"] == {"matchLabels": {"ray.io/cluster": cluster["metadata"]["name"]}}
    assert servers["spec"]["podSelector"] in [
        source["podSelector"] for source in nodes["spec"]["ingress"][0]["from"]
    ]


def test_the_ray_of_the_manifest_is_one_that_bgeraser_accepts() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    bounds = re.search(r'"ray\[serve\]>=(\d+)\.(\d+),<(\d+)"', text)
    assert bounds is not None
    lowest_major, lowest_minor, first_refused = map(int, bounds.groups())
    major, minor, _ = map(int, _find("RayCluster")["spec"]["rayVersion"].split("."))
    assert (lowest_major, lowest_minor) <= (major, minor) < (first_refused, 0)
