"""The browser and the command line: composes the whole application. The only package above `api`."""
