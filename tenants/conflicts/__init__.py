"""A tenant's part of the conflict ledger: browse it, and bring lost values back."""
