"""The protocol with hosts: scripts, sessions and their events."""
