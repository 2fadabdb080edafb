"""Onboarding: the law first, then the place, then the name."""
