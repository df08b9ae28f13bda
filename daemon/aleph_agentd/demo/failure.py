"""The one way for a demo to end badly."""


class DemoFailed(Exception):
    """Something was not as it should be; the text is the reason."""
