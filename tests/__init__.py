"""The test suite. Folders mirror the packages by name."""
