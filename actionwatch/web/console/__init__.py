"""The console: pages for people, rendered on the server. They read the store and have no state."""
