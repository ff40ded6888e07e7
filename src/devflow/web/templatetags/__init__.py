"""What templates need to show a value."""
