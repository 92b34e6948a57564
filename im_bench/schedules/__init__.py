"""Which trainings each method needs, and in which order. Light: nothing here imports torch."""
