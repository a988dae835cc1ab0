"""What goes wrong on a real line, on request: refusals now and then, garbage, flipped bits, silence."""

from random import Random


class Faults:
    """`refuse_permille` of the good requests get an occasional 0B, on a schedule that the seed fixes;
    `refuse_next` more get one for certain. `garbage` goes out before each response and `garbage_after` behind
    it. `flip_next` responses have one bit flipped; `cut_next` responses end in their middle. A `silent` meter
    does not answer at all."""

    def __init__(self, seed: int) -> None:
        self.refuse_permille = 0
        self.refuse_next = 0
        self.garbage = b""
        self.garbage_after = b""
        self.flip_next = 0
        self.cut_next = 0
        self.silent = False
        self._chance = Random("%d faults" % seed)

    def refuses(self) -> bool:
        """Whether this request is refused although its key is right."""
        if self.refuse_next:
            self.refuse_next -= 1
            return True
        return self.refuse_permille > 0 and self._chance.randrange(1000) < self.refuse_permille

    def spoil(self, response: bytes) -> bytes:
        """The response as it leaves the meter."""
        if self.flip_next:
            self.flip_next -= 1
            spoiled = bytearray(response)
            # Behind the length: a wrong length is another fault.
            bit = self._chance.randrange(16, len(spoiled) * 8)
            spoiled[bit // 8] ^= 1 << bit % 8
            response = bytes(spoiled)
        if self.cut_next:
            self.cut_next -= 1
            response = response[: len(response) // 2]
        return self.garbage + response + self.garbage_after
