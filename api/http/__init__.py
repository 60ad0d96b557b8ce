"""The half of `api` that speaks HTTP: reads requests, answers them; decisions live one level up."""
