"""What stays: reconcile loops that make endpoints what they should be."""
