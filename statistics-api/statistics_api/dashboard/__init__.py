"""Pages for people who would rather look than read. They ask the same public routes as any other client."""
