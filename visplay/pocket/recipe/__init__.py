"""How the pocket VLM was made: its architecture, its lessons, its training and its card."""
