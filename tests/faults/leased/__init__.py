"""Leased cells under fire, through the edge: linearizable, one writer at a time, nothing lost."""
