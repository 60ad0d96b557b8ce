"""E-mail: the messages and the SMTP client that sends them."""
