"""What a customer's state at Stripe means for plan and credits."""
