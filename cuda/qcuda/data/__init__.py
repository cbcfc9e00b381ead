"""Data sets, their splits and their order."""
