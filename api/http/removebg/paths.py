"""The addresses of remove.bg's API."""

REMOVE_PATH = "/v1.0/removebg"
ACCOUNT_PATH = "/v1.0/account"
PATHS = frozenset({REMOVE_PATH, ACCOUNT_PATH})
