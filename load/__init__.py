"""Measuring: every claim about speed is a ratio of two things measured in one run on one machine."""
