"""The door to what runs inside the VMs."""
