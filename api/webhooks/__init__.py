"""Outgoing webhooks: endpoints of accounts, and the signed messages that are delivered to them."""
