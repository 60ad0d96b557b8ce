"""One module per tool: its `Params` and its `run`. `ml.catalogue` lists them."""
