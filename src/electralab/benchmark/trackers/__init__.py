"""What is read from the machine beside seconds."""
