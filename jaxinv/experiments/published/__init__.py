"""Published experiments: each a declaration; the code that runs, judges and reports any of them."""
