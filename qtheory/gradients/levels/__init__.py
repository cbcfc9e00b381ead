"""Weights at their levels and thresholds: descent, oscillation, equivalences, hyper-gradients."""
