"""What a GPU is asked on the first day: the torch layer on it, stage by stage."""
