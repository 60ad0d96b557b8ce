"""Runs calls in worker processes: queue, dispatcher, supervision, and the inside of a worker."""
