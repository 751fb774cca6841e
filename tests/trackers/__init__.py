"""Stand-ins for experiment trackers, with the signatures of the real ones, that keep what they are given."""
