"""One module per tool: its `Params` and `run`. `ml.catalogue` lists them."""
