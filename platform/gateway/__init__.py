"""The request path inside a region: host → tenant → cell, write gate, durability, health."""
