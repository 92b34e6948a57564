"""What a study has found, in the terminal and as a page."""
