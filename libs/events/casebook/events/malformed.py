"""What is not an event: one error for every way in, with a stable code."""


class Malformed(ValueError):
    """Bytes or attributes are not an event; ``code`` is stable, ``detail`` explains it.

    The detail names attributes and fields and never repeats their values, which may be personal.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
