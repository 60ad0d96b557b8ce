"""A billed call from admission to settlement: the only place where credits meet ml."""
