"""The algorithms, one a file, over the base class of `base.py`."""
