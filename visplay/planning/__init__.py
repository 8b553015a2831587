"""What a run takes, told before it begins: memory by card, and work."""
