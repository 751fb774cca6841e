"""What jaxinv costs, beside what its users would otherwise write. Run from the top of the checkout."""
