"""Models: what they are, where they come from, how they run. torch is imported here only."""
