"""What a browser may load and do on our pages: a Content-Security-Policy with a fresh nonce for each answer.

Nothing comes from another host, so the pages work offline and tell nobody who reads them.
"""

import secrets
from collections.abc import Iterable


def new_nonce() -> str:
    """Names the scripts of one answer as ours; nobody who injects markup can know it."""
    return secrets.token_urlsafe(16)


def page_policy(nonce: str, form_targets: Iterable[str] = ()) -> str:
    """The policy of a plain page. `form_targets`: origins that a form may end up at, besides ours.

    Browsers hold the redirect after a form's POST to `form-action` too, so a payment page must be named here.
    """
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            " ".join(("form-action 'self'", *form_targets)),
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


#: Gradio compiles its templates in the browser and writes styles into elements, hence inline and eval; still
#: nothing of another host.
GRADIO_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' blob: data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
