"""Persons who work in the account of another one, and what their role lets them do there."""
