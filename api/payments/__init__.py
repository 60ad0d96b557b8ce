"""Plans sold through Stripe and synchronised with it."""
