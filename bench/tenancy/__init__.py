"""Issue 3's measures: requests, onboarding, migrations, row-level security, memory."""
