"""Studies: methods compared with equal effort, each tuned alike on data that is not tested."""
