"""Chips to learn from, cut out of rasters and pictures that a user's own labels lie on."""
