"""What will happen: pure functions from specs and states to decisions. Clock and chance are arguments."""
