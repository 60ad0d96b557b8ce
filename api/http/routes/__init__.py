"""REST routes, one module a noun. They read the request and answer; decisions live one level up."""
