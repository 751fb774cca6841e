"""Programs compiled for accelerators that are not there, and what the compiler says about them."""
