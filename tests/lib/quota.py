"""Quota: what the turns of a burst are told of it."""


def check_told(left):
    """left: what each of all the turns of a burst was told. What waits while the first are asked is taken together, and all of
    it is told what is left after it; so nobody is told of more than there was, and the last of nothing."""
    left = sorted(left)
    assert left[0] == 0 and all(told <= most for most, told in enumerate(left)), left
