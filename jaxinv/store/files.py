"""Where the files of a run lie, and what can be wrong with one."""

ROOT = "results.zarr"


class Damaged(Exception):
    """A file is not what was written: its key, and what is wrong with it."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key, self.why = key, why


class Missing(Damaged):
    """A file is not there."""

    def __init__(self, key: str) -> None:
        super().__init__(key, "is missing")
