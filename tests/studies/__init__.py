"""What was tried before a method was chosen, to be run again; nothing here is a test."""
