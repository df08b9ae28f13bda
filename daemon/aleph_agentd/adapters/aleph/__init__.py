"""The door to the Aleph network: the only importer of the SDK."""
