"""ASGI middleware: request context, hosts and body limits."""
