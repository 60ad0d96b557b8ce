"""The HTTP layer of `api`: reads requests and writes responses. The rules are in the other packages."""
