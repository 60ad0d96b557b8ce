"""The operator's panel at /app/admin, for accounts that `bgeraser admin grant-operator` has marked."""
