"""The two public discussions that the experiments here are about."""

INVERSION = "https://stats.stackexchange.com/q/220164"
NORMALISATION = "https://stats.stackexchange.com/q/211436"
