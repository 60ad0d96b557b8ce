"""One module per inference library or algorithm; the only place where those libraries are imported."""
