"""Acts of operators on accounts, the log of them, and what the operator's panel shows."""
