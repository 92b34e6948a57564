"""Tables of results: what they mean, and how they look in each format."""
