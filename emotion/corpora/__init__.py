"""Readers of the corpora the models are trained and scored on."""
