"""Networks to train, and the layers of the baselines."""
