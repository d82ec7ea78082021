"""What serves trained weights, and proves that what it serves is what was trained."""
