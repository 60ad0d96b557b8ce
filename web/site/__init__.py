"""Plain pages for people: their shell, their protective headers, and those that need no account."""
