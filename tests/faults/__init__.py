"""The fault suite: three regions under fire, what clients were told, and what was left of it."""
