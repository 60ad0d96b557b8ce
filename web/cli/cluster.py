"""`bgeraser cluster`: deploys the tools on a Ray cluster, and shows and deletes what runs there."""

from typing import TYPE_CHECKING, Annotated

import typer

from api.settings import Settings, WrongSettings

if TYPE_CHECKING:
    from ml.runtime.cluster.backend import ClusterConfig

app = typer.Typer(
    help="Tools on a Ray cluster (BGERASER_ML_BACKEND=ray).", no_args_is_help=True, add_completion=False
)


@app.command()
def deploy(
    families: Annotated[
        list[str] | None, typer.Argument(help="Families of tools; default: all.", show_default=False)
    ] = None,
) -> None:
    """Deploy the tools, or update them after a change of version or settings.

    Servers deploy by themselves only what is missing. Replicas are replaced one after another.
    """
    from ml.runtime.cluster import deployment

    config = _connected()
    if unknown := set(families or ()) - config.sizes.keys():
        raise WrongSettings(f"There is no family {min(unknown)!r}: there are {', '.join(config.sizes)}.")
    wanted = families or list(config.sizes)
    deployment.deploy(config.prefix, config.replica, config.sizes, wanted)
    typer.echo(f"Deployed: {', '.join(wanted)}. bgeraser cluster status shows when they run.")


@app.command()
def status() -> None:
    """Show each family: its state, replicas and what is wrong with it."""
    from ml.runtime.cluster import deployment

    config = _connected()
    states = deployment.states(config.prefix, config.sizes)
    for family, state in states.items():
        size = config.sizes[family]
        bounds = f"{size.min_replicas} to {size.max_replicas}"
        typer.echo(f"{family:8}  {state.status:13}  {state.running} of {bounds} replicas  {state.message}")
    if not all(state.is_running for state in states.values()):
        raise typer.Exit(1)


@app.command()
def delete() -> None:
    """Delete the tools from the cluster. Calls that run there fail, and are not charged."""
    from ml.runtime.cluster import deployment

    config = _connected()
    try:
        deployment.delete(config.prefix, config.sizes)
    except TimeoutError as error:
        typer.echo(f"bgeraser: Being deleted, but {error}.", err=True)
        raise typer.Exit(1) from None
    typer.echo("Deleted.")


def _connected() -> "ClusterConfig":
    settings = Settings.load()
    if settings.ml_backend != "ray":
        raise WrongSettings("These commands need BGERASER_ML_BACKEND=ray and BGERASER_RAY_ADDRESS.")
    # Imported here, because the other commands do not need them.
    from web import bootstrap

    bootstrap.require_cluster_library()
    from ml.runtime.cluster import connection

    config = bootstrap.cluster_config(settings)
    try:
        connection.require_token()
        connection.connect(config.address)
    except connection.NoToken as error:
        raise WrongSettings(f"BGERASER_ML_BACKEND=ray: {error}.") from None
    except Exception as error:  # Ray has many kinds
        raise WrongSettings(
            f"BGERASER_RAY_ADDRESS={config.address} cannot be used with this token and through this machine's"
            f" Ray node: {error}"
        ) from None
    return config
