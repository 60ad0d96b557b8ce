"""Authentication and accounts: passwords, sessions, API keys, tokens, external identities, e-mail."""
