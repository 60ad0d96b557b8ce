"""Migrations of the schema. `upgrade.migrate(url)` brings a database up to date."""
