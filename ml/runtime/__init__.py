"""Runs calls in worker processes: queue, dispatcher, supervision, and the worker itself."""
