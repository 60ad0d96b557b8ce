"""Accounts, plans and the credit ledger."""
