"""The HTTP side of `api`: it reads requests and answers them; the rules are in the other packages."""
