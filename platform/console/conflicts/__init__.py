"""A tenant's part of the conflict ledger, where the law lets the operator see it."""
