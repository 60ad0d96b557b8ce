"""The dashboard's page."""

from api.services import Services
from api.settings import Settings


def build(services: Services, settings: Settings) -> None:
    """Adds the dashboard to the Blocks being built."""
    import gradio as gr

    gr.Markdown("# Dashboard")
