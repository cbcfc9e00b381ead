"""Networks of stairs: what they express, and how smoothed ones converge to them."""
