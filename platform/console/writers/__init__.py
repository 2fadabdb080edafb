"""A cell's writer and its write policy from the console: preview, confirmation, result."""
