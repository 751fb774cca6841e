"""One training of one network, unbatched and pure: what is done, never how often or where."""
