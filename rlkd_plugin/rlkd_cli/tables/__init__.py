"""The tables that commands end with, as rich shows them in a terminal."""
