"""What the tests of the whole service share: one noun a file, as in src/."""
