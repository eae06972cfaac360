"""Input that an upstream, a receiver, an author of rules or anybody else may send. Each test states what must hold."""
