"""Tool calls from admission to settlement: the only package that connects credits and workers."""
