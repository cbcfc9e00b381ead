"""Evidence: the claims of papers, the experiments behind them, and their ledgers."""
