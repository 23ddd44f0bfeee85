"""The student of `make demo`: how its adapter and its problems are made."""
