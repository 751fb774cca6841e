"""Runs studies: looks names up, compiles for many trials at once, spreads them over devices and processes."""
