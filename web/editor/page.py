"""The editor's page."""


def build() -> None:
    """Adds the editor to the Blocks being built."""
