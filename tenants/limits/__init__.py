"""What a tenant may use at most, what it uses, and where both are enforced and counted."""
