"""Measurements (family 2): three numbers that a device measured at one time."""
