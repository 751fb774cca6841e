"""Published experiments and claims: what they state, and the code that runs and judges them."""
