"""The training job behind `qtheory train`: a pure function of its config and its seeds."""
