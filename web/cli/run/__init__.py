"""`bgeraser run`: one tool on many files, on this machine or through the API."""
