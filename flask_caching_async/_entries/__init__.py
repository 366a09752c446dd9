"""What is stored: entries, their times, private copies of their values, their form as bytes."""
