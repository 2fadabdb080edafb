"""The API's routes, one kind of record a module."""
