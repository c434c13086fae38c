"""Numbers as venues print them.

Inside the simulator prices and sizes are integers: so many ticks, so many lots.  A venue
prints them as decimal text, and the text matters: consumers key books by it and compute
checksums from it.  `Scale` turns counts into text and into the float that the text parses to,
and remembers both, because a book shows the same few hundred prices over and over.
"""

from __future__ import annotations

from decimal import Decimal

__all__ = ["Scale"]

_REMEMBER_MAX = 65_536  # texts kept for each scale; beyond that the memory is dropped and refilled


class _Texts(dict[int, str]):
    """Count -> decimal text, filled on first use."""

    def __init__(self, step: str, digits: int | None) -> None:
        super().__init__()
        self._places = max(-int(Decimal(step).normalize().as_tuple().exponent), 0)
        self._mantissa = int(Decimal(step).scaleb(self._places))
        self._digits = digits
        self._unit = 10**self._places

    def __missing__(self, count: int) -> str:
        if len(self) >= _REMEMBER_MAX:
            self.clear()
        whole, part = divmod(count * self._mantissa, self._unit)
        fraction = f"{part:0{self._places}d}" if self._places else ""
        if self._digits is None:
            text = f"{whole}.{fraction.rstrip('0') or '0'}"
        else:
            text = f"{whole}.{fraction:0<{self._digits}}"
        self[count] = text
        return text


class _Values(dict[int, float]):
    """Count -> the double nearest to its text, filled on first use."""

    def __init__(self, texts: _Texts) -> None:
        super().__init__()
        self._texts = texts

    def __missing__(self, count: int) -> float:
        if len(self) >= _REMEMBER_MAX:
            self.clear()
        value = float(self._texts[count])
        self[count] = value
        return value


class Scale:
    """Prints non-negative counts of one step.

    Attributes:
        text: ``scale.text[count]`` is the decimal text.
        value: ``scale.value[count]`` is the float which that text parses to.
    """

    __slots__ = ("text", "value")

    def __init__(self, step: str, digits: int | None = None) -> None:
        """Create a scale.

        Args:
            step: Size of one count, such as ``0.5``.
            digits: Digits after the point, padded with zeros and no fewer than the step needs;
                `None` prints as few as possible, but at least one, as JSON floats are printed.
        """
        self.text = _Texts(step, digits)
        self.value = _Values(self.text)
