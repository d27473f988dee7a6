"""What the services say to each other about the inbox."""

# The name of the inbox among the needs of the private service's `/readyz`; without an inbox it is not there.
INBOX = "inbox"
# What a client prefers (RFC 7240) whose event may be put into the inbox.
RESPOND_ASYNC = "respond-async"
