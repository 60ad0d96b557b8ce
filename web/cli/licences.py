"""`bgeraser licences`: the licences of what is installed on this machine, packages and weights.

Packages are those of the running Python environment, with what their own metadata states. Weights are the
checkpoints of the registry and the pipelines of the hub that are in the models directory.
"""

import json
import re
from importlib import metadata
from typing import Annotated, Any

import typer

from api.settings import Settings

_NOT_STATED = "not stated"
_SHORT_LENGTH = 100
_CLASSIFIER = "License :: "


def licences(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """List the licences of the installed packages and weights."""
    found = {"packages": packages(), "weights": _weights()}
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for package in found["packages"]:
        typer.echo(f"{package['name']} {package['version']}: {package['licence']}")
    for weights in found["weights"]:
        use = "allowed" if weights["commercialUse"] else "not clearly allowed"
        carrier = f" | carrier: {weights['carrierLicence']}" if weights["carrierLicence"] else ""
        typer.echo(f"weights of {weights['name']}: {weights['licence']}{carrier} | commercial use: {use}")


def packages() -> list[dict[str, str]]:
    """Name, version and licence of each installed package, by name."""
    # Names that differ in case and separators are one package; the first one found is imported.
    found: dict[str, metadata.Distribution] = {}
    for each in metadata.distributions():
        found.setdefault(re.sub(r"[-_.]+", "-", each.name).lower(), each)
    return [
        {"name": name, "version": package.version, "licence": licence_of(package.metadata)}
        for name, package in sorted(found.items())
    ]


def licence_of(stated: Any) -> str:
    """What a package's metadata states: an expression, else classifiers, else the first line of its text."""
    if expression := stated.get("License-Expression"):
        return str(expression)
    listed = [each.split(" :: ")[-1] for each in stated.get_all("Classifier", []) if _CLASSIFIER in each]
    if names := [each for each in listed if each != "OSI Approved"]:
        return " and ".join(names)
    text = str(stated.get("License") or "").strip()
    if text and text != "UNKNOWN":
        return text.splitlines()[0][:_SHORT_LENGTH]
    return _NOT_STATED


def _weights() -> list[dict[str, Any]]:
    from ml.checkpoints import licences as weights_licences
    from ml.checkpoints import registry
    from ml.checkpoints.registry import CHECKPOINTS, State

    models_dir = Settings.load().models_path
    found: list[dict[str, Any]] = [
        {
            "name": one.name,
            "licence": one.weights_licence,
            "carrierLicence": one.carrier_licence,
            "origin": one.origin,
            "commercialUse": one.commercial,
        }
        for one in CHECKPOINTS.values()
        if registry.state(models_dir, one) is State.INSTALLED
    ]
    for name, licence in weights_licences.of_repositories(models_dir).items():
        is_allowed = licence is not None and not weights_licences.forbids_commercial_use(licence)
        found.append(
            {
                "name": name,
                "licence": licence or _NOT_STATED,
                "carrierLicence": None,
                "origin": f"Hugging Face {name}",
                "commercialUse": is_allowed,
            }
        )
    return found
