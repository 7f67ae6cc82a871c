"""Stands in for billiard: its exceptions, and nothing that starts a process."""
