"""Doors to the outside world, one each."""
