"""What can be concluded from results: estimates, comparisons, summaries."""
