"""Work that takes a while: queued once, watched to its end, repeated on request."""
