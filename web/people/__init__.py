"""Signing up, in and out, and the settings of an account: plain pages with forms, no scripts."""
