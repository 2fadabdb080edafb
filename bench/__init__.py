"""Benchmarks: what Meridian costs, measured side by side with its peers in one run."""
