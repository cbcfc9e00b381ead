"""What the chain of a weight becomes in a limit: diffusions, temperatures, time scales, designs."""
