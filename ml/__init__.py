"""The tools, their engines, and the worker processes that run them.

This package does not depend on HTTP, credits or settings: callers pass plain values.
"""
