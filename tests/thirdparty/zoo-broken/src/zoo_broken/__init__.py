"""Five hook modules, each wrong in its own way."""
