"""Webhooks: an owner's rules over figures, and the deliveries that tell of them, in order and at least once."""
