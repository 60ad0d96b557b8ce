"""The paid path: who calls, what it may cost, where pictures lie, and the REST routes on top."""
