"""Alerts: what an account's owner is told by mail and webhook, once for each cause."""
