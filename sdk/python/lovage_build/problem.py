"""What a person is told when a build cannot go on."""


class Problem(Exception):
    """One line of cause, one of what to do, and more where it helps."""

    def __init__(self, cause, advice, detail=""):
        super().__init__(cause)
        self.cause = cause
        self.advice = advice
        self.detail = detail.rstrip()

    def __str__(self):
        detail = f"{self.detail}\n" if self.detail else ""
        return f"{detail}error: {self.cause}\n help: {self.advice}"
