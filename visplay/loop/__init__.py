"""The self-play loop: Algorithm 1 of VisPlay, its phases, their measurements and health checks."""
