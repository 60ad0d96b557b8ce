"""Jobs: calls that are accepted at once and run later."""
