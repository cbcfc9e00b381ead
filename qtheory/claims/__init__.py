"""Claims of papers, in modules `<key>_*.py` with a tuple CLAIMS; `qtheory reproduce` runs them."""
