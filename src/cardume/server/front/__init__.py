"""What stands before the application: HTTP with bounds, and the doors past its middleware."""
