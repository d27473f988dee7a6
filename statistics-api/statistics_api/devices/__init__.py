"""Devices (family 2): which there are, and the numbers by which facts name them."""
