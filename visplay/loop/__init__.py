"""The self-play loop: Algorithm 1 of VisPlay, its phases, the one bridge to TRL, and what watches them."""
