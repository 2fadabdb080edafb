"""Failing a region over from the console: preview, confirmation, measured result."""
