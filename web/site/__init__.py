"""Pages that need no account: the front page, the API reference, and error pages."""
