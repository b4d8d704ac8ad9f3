"""Labelled pictures: reading them, changing them, the samples of a run."""
