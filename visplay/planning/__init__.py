"""Plan a run before it starts: memory by card, and work."""
