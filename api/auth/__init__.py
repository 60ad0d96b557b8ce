"""Authentication and accounts of people: passwords, sessions, API keys, tokens, external sign-ins, mail."""
