"""Step 1: the upstream's user actions -> stored records, with proof."""
