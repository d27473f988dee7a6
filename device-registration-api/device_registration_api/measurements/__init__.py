"""Measurements (family 2): what stores them, and the devices that they belong to."""
