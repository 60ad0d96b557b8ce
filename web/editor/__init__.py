"""The web editor: its page, and the routes that its scripts in static/editor call."""
