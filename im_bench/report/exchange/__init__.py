"""Results that leave for other tools, and those that come from other groups."""
