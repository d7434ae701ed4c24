"""What a figure is, and how it is reckoned."""
import statistics
import time
import typing


class Figure(typing.NamedTuple):
    unit: str
    take: typing.Callable  # gives (shoal, floor) of one round; floor None: there is none
    rounds: int = 5  # in the short form …
    long_rounds: int = 9  # … and in the long one
    long_only: bool = False  # left out of the short form unless it is named


def seconds(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def percentile(numbers, percent):
    """So many percent of the numbers are smaller or equal."""
    return statistics.quantiles(numbers, n=100, method="inclusive")[percent - 1]
