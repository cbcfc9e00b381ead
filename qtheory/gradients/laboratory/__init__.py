"""The gradient laboratory: bias, variance and direction of estimators against exact gradients."""
