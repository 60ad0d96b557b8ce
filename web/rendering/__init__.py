"""Rendering of plain pages: templates, static files and the Content-Security-Policy."""
