"""Assembles a service; imported by the two applications alone."""
