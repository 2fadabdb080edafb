"""A tenant app for the tests: what Django's models can do, and what its constraints can say."""
