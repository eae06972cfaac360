"""Step 3: a due row of the outbox -> a message -> a receiver -> a recorded outcome."""
