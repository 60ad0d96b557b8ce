"""Content-Security-Policy of the pages.

Nothing is loaded from other hosts, so the pages work offline and do not leak who reads them.
"""

import secrets


def new_nonce() -> str:
    """A nonce that marks the scripts of one response as ours. Injected markup cannot know it."""
    return secrets.token_urlsafe(16)


def page_policy(nonce: str) -> str:
    """The policy of a plain page."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' data: blob:",
            "font-src 'self'",
            "connect-src 'self'",
            "manifest-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _gradio_policy(scripts: str) -> str:
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' {scripts}",
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


#: Gradio's client compiles templates in the browser, which needs `unsafe-inline` and `unsafe-eval`. Other
#: hosts stay forbidden.
GRADIO_POLICY = _gradio_policy("'unsafe-inline' 'unsafe-eval' blob:")


def server_page_policy(nonce: str) -> str:
    """The policy of a Gradio page that is drawn without Gradio's client."""
    return _gradio_policy(f"'nonce-{nonce}'")
