"""The web editor without HTTP: projects, their steps, and the runs that create new ones."""
