"""The run folder: steps, adapter versions, results, trackers, and how a command ends."""
