"""People who sign in: passwords, sessions, one-time tokens, linked sign-ins, mail. No HTTP here."""
