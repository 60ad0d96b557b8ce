"""Alerts: notifications of an account's owner by mail and webhook, once for each cause."""
