"""Step 2: stored records -> alerts and the deliveries they need, in one transaction."""
