"""A local Aleph network over real HTTP, for tests and the demo."""
