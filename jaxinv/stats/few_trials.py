"""From how many trials on verdicts are given."""

from jaxinv.utils.text import plural

FEWEST = 6
"""With fewer trials no verdict is given. Six is the smallest number with which a test can reject at 5% that takes no
distribution for granted: flipping the signs of n differences gives p = 2^(1 - n) at least. With fewer, everything would
rest on a normal distribution and on a standard deviation that so few trials cannot show."""

TOO_FEW = "too few"


def too_few(n: int, noun: str = "trial") -> str:
    """Why no verdict is given; nothing where there are enough.

    >>> too_few(2), too_few(1, "chain"), too_few(6)
    ('2 trials are too few to speak; 6 or more are needed', '1 chain is too few to speak; 6 or more are needed', '')
    """
    verb = "is" if n == 1 else "are"
    return f"{plural(n, noun)} {verb} too few to speak; {FEWEST} or more are needed" if n < FEWEST else ""
