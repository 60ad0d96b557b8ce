"""The Gradio pages: their mount, the guard in front of them, and their theme."""
