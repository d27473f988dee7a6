"""Answers to questions that many clients repeat, for every kind of event."""
