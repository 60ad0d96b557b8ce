"""The pages and the command line. Composes the whole application; the only package above `api`."""
