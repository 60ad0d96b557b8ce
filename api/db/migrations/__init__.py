"""The schema's history. `upgrade.migrate(url)` brings a database to its present form."""
