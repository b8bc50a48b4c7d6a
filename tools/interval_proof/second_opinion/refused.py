"""Why a proof is not believed."""


class Refused(Exception):
    """The first check that failed, under its name in docs/spec/interval-proof.md."""

    def __init__(self, name, text):
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


def check(holds, name, text):
    """Refuses under `name` unless `holds`."""
    if not holds:
        raise Refused(name, text)
