"""One module per inference library or algorithm. Inference libraries are imported only here."""
