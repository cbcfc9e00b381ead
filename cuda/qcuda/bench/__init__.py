"""Benchmarks: the weight update, the cost of watching, exact chains."""
