"""A real web server's settings, views and websockets for tests."""
