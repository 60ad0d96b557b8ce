"""Signing up, signing in and account settings: plain pages with forms, without scripts."""
