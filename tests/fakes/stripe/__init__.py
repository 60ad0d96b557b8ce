"""A simulator of the parts of Stripe that the product uses, for tests and for trying plans without account.

`world.py` holds the state, the test clock and the events; `lifecycle.py` changes subscriptions, invoices and
payments; `api.py` answers the real SDK; `pages.py` serves the checkout and the portal, marked as simulated;
`delivery.py` signs and sends events and can duplicate, reorder, delay and drop them. A test compares the
objects with the SDK's own types.
"""
