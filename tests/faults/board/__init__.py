"""The app that the fault suite's clients use."""
