"""What agentlab serves to others."""
