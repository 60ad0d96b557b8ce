"""An own simulator of the parts of Stripe that we use, for tests and for trying plans without an account.

`world.py` has the state, the test clock and the events; `lifecycle.py` what happens to subscriptions;
`api.py` answers the real SDK; `pages.py` are the checkout and the portal, marked as a simulation;
`delivery.py` signs and sends events and can duplicate, reorder, delay and drop them. A test compares the
objects with the SDK's own types.
"""
