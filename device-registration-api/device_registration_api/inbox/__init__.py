"""Events that arrive while the first database is away: stored in another one, and drained when the first is back."""
