"""From a suite to the cells and stages that it takes. Never imports torch."""
