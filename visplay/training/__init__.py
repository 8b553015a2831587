"""GRPO by TRL, one step at a time."""
