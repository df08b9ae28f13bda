"""For all tests: no time limit on a single Hypothesis example, since a busy machine proves nothing."""

from hypothesis import settings

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
