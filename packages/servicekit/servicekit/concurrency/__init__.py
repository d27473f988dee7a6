"""Asyncio and a clock: no HTTP, no SQL."""
