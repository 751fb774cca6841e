"""Everything that is worth measuring on an accelerator, for the day one is at hand."""
