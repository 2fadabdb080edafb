"""The operator console: what runs where, onboarding, failover and the records of both."""
