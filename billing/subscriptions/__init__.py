"""Stripe subscriptions: the plan and the credits that a customer's state at Stripe gives an account."""
