"""Checks that find out why samples are wrong: one per file, each a question with a number for an answer."""
