"""What the conformance kit checks, by ability."""
