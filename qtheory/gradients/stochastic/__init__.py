"""Networks of units that draw their level, and the estimators of their gradients."""
