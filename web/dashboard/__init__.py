"""The dashboard: a signed-in account's credits, usage, keys, calls and statement, as one Gradio page."""
