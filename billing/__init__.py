"""Accounts, plans and the credit ledger. Functions take a session and never commit; no HTTP."""
