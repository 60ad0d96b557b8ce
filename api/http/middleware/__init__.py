"""ASGI middleware: request context and body limits."""
