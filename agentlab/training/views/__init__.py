"""Views: which attempts are worth learning from, and what of them. One published rule a file."""
