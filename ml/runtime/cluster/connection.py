"""The connection of this process to a Ray cluster."""

import logging
import os
import socket

CONNECT_SECONDS = 5.0
_SETTINGS = 4  # the type of a frame, RFC 9113 section 6.5
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])


class NoToken(ValueError):
    """The cluster would run code for everybody who reaches it."""


def require_token() -> None:
    """Raises NoToken unless Ray's token authentication is on for this process."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        raise NoToken(
            "Ray's token authentication is off: set RAY_AUTH_MODE=token, and the cluster's token as"
            " RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        )


def check_answers(address: str) -> None:
    """Raises OSError unless something like a cluster's head answers at the address.

    Ray would try for minutes. A head speaks HTTP/2, and begins with its settings.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return
    with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return
        connection.sendall(_HTTP2_GREETING)
        try:
            head = connection.recv(9, socket.MSG_WAITALL)
        except TimeoutError:
            raise TimeoutError("what listens there does not answer") from None
    if len(head) < 9 or head[3] != _SETTINGS:
        raise ConnectionError("what answers there is not a Ray cluster")


def connect(address: str) -> None:
    """Connect this process to a cluster through the Ray node on this machine, and start Serve there unless it
    runs. Raises OSError, and Ray's errors.
    """
    check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report them to its makers
    import ray
    from ray import serve

    for name in ("ray", "ray.serve"):  # into this process's own log, in its format
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.ERROR)  # without the warning that this thread takes no signals
    if not ray.is_initialized():
        ray.init(address, namespace="bgeraser", log_to_driver=False, configure_logging=False)
    for name in ("ray", "ray.serve"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Without its HTTP servers: calls come by handles.
    serve.start(proxy_location="Disabled")
