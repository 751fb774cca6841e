"""Helpers that know nothing of trials, images or statistics."""
