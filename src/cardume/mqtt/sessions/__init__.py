"""What is owed to one client: its queue, what is under way, what waits for its return."""
