"""Fakes, runners and folders that several tests share."""
