"""Pages for buying, changing and cancelling a plan with Stripe."""
