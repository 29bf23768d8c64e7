"""What the interleavings share: one noun a file. They play on the database of run.sh, over its unix socket."""
