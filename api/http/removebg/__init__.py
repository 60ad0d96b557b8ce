"""A drop-in for remove.bg's API: its fields, answers, headers and errors over our background removal."""
