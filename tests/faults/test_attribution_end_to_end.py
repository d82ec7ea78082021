"""What a run finds out about planted skills: a useful one stays, a harmful one goes."""
