"""What results look like: the one place that knows their dimensions, variables and labels."""
