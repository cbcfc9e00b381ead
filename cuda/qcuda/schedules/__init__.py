"""Schedules of a run: which knob of the optimiser has which value when."""
