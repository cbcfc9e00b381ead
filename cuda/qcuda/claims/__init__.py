"""Claims of papers about networks, in modules `<key>_*.py` with a tuple CLAIMS."""
