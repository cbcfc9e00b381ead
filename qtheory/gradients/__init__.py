"""Gradients through stairs: the estimates that reach a discrete weight, and their errors."""
