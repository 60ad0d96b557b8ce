"""Plans bought through Stripe and kept in agreement with it."""
