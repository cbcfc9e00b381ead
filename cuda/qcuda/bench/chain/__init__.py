"""Times and errors of exact chains, beside what other packages answer."""
