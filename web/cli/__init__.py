"""The `bgeraser` command."""
