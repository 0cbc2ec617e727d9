"""Language models that answer: the bundled one, and any of transformers."""
