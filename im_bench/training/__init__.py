"""One training on mmengine's Runner."""
