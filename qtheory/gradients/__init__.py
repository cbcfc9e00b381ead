"""Gradients through stairs: what reaches a discrete weight, and how wrong it is."""
