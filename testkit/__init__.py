"""What tests stand on: real servers of the run's own, tenants in all modes, a pytest plugin."""
