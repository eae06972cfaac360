"""What an upstream, a receiver, a rule author or a stranger may send: each test is named for what must not happen."""
