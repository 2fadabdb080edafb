"""A region emptied for a time, and its cells brought home, from the console."""
