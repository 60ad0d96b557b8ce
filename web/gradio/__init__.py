"""The mount of the Gradio pages, the guard in front of them, and their theme."""
