"""REST routes, one module for each noun. They read the request and answer it."""
