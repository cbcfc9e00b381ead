"""Stairs: quantisers, what noise makes of them, and which surrogate slopes are noises."""
