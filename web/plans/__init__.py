"""Buying, changing and leaving a plan: our pages around Stripe's."""
