"""What is up right now, as this region sees it."""
