"""Training in little memory: what is not kept for the backward pass is made again there."""
