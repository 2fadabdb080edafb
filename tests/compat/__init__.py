"""Well-known apps' own test suites, run inside a tenant in each mode, and without one."""
