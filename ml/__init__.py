"""Pictures in, pictures out: the catalogue of tools, their engines and the processes that run them.

Knows neither HTTP nor credits nor settings: callers hand in plain values.
"""
