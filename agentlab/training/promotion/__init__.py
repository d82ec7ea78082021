"""What decides whether trained weights serve: settings, order, verdict."""
