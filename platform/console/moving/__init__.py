"""Taking a tenant to another place from the console: preview, confirmation, result."""
