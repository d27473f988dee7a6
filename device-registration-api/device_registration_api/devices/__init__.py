"""Devices (family 2): what creates, changes and deletes them."""
