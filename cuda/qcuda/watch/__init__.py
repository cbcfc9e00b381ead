"""What watches a training run: moves held to their exact law."""
