"""The local fleet: a pure plan, and the launcher that makes it run on one machine."""
