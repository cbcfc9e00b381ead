"""Benchmarks of the weight update, of the law audit, and of exact chains."""
