"""One module per schema change. Released ones are never edited."""
